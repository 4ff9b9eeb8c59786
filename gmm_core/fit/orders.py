"""The order in which a fit sums the samples, as a part of warm starts and of checkpoints.

A fit that skips pairs sorts the rows of each region; see `data/skipping.py`. For the same bits, a
fit that continues another one has to sort them in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gmm_core.core.types import AnyArray
from gmm_core.data.skipping import Order
from gmm_core.fit.options import BayesianOptions, Options
from gmm_core.model.archive import Members
from gmm_core.model.archive_entries import is_count
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.noise import Noise
from gmm_core.model.parameters import Prepared


def order_to_keep(
    order: Order, options: Options | BayesianOptions, n_starts: int
) -> Order | None:
    """Return what a model keeps of the order for a warm start, or None.

    After several starts it keeps nothing, as the order is that of the last one.
    """
    return order if options.warm_start and n_starts == 1 and order != Order() else None


def arrays_of_order(order: Order) -> dict[str, AnyArray]:
    """Return arrays for a file, by names that begin with 'order'."""
    reference, *numbers = order
    arrays: dict[str, AnyArray] = {"order_numbers": np.array(numbers)}
    if reference is None:
        return arrays
    noise = (-np.inf, 0.0) if reference.noise is None else reference.noise
    return {
        **arrays,
        "order_weights": reference.weights,
        "order_means": reference.means,
        "order_precisions_cholesky": reference.precisions_cholesky,
        "order_log_constant": reference.log_constant,
        "order_noise": np.array(noise),
    }


def order_from(members: Members, covariance_type: str, K: int, D: int) -> Order:
    """Return the order that was written to a file.

    Raises
    ------
    ValueError
        If the file has arrays that `arrays_of_order` cannot have made.
    """
    numbers = [int(n) for n in members.array("order_numbers", (3,), ("int64",))]
    sorted_in, n_passes, age = numbers
    valid = is_count(n_passes) and -1 <= age <= n_passes and -1 <= sorted_in < max(n_passes, 1)
    if not valid or (sorted_in >= 0 and age < 1):
        raise ValueError(f"order_numbers are {numbers}")
    if sorted_in < 0:
        return Order(None, *numbers)
    kind = COVARIANCE_TYPES[covariance_type]

    def array(name: str, shape: tuple[int, ...]) -> Any:
        values = np.ascontiguousarray(members.array(f"order_{name}", shape)).reshape(shape)
        if np.isnan(values).any():
            raise ValueError(f"order_{name} has NaN")
        return values

    noise = Noise(*array("noise", (2,)).tolist())
    reference = Prepared(
        array("weights", (K,)), array("means", (K, D)),
        array("precisions_cholesky", kind.shape(K, D)), array("log_constant", (K + 1,)), kind.name,
        noise if noise.weight else None,
    )  # fmt: skip
    return Order(reference, *numbers)
