"""Checkpoints of a fit of a Bayesian mixture; see `checkpoints.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gmm_core.core.types import Float64Array
from gmm_core.data.conversion import as_float_array
from gmm_core.data.passes import Pass
from gmm_core.data.skipping import Order
from gmm_core.data.subset import Totals
from gmm_core.fit.checkpoints import Form, identity_of
from gmm_core.fit.options import BayesianOptions
from gmm_core.fit.orders import arrays_of_order
from gmm_core.fit.variational import Inferred
from gmm_core.model.archive import Members
from gmm_core.model.archive_entries import check_above, check_values
from gmm_core.model.covariance import COVARIANCE_TYPES
from gmm_core.model.posterior import Moments, Posterior, assemble


def bayesian_identity(
    options: BayesianOptions, data: Pass, totals: Totals, warm: Posterior | None, order: Order
) -> dict[str, Any]:
    """Return the options and the properties of the data that identify the fit in a checkpoint."""
    of_prior = {
        name: value if value is None else as_float_array(value, name).astype(np.float64)
        for name, value in options._asdict().items()
        if name.endswith("_prior")
    }
    return identity_of(
        options, data, None if warm is None else _arrays("", warm).values(),
        arrays_of_order(order), posterior=options.posterior,
        weight_concentration_prior_type=options.weight_concentration_prior_type,
        **of_prior, **{"total weight": totals.total},
    )  # fmt: skip


def form_of_inferred(options: BayesianOptions, n_features: int) -> Form[Inferred]:
    """Return the form that the parameters of the fit have in a checkpoint."""
    kind, K, D = COVARIANCE_TYPES[options.covariance_type], options.n_components, n_features
    process = options.weight_concentration_prior_type == "dirichlet_process"
    shape = kind.shape(K, D)

    def read(members: Members, prefix: str) -> Inferred:
        def array(name: str, shape: tuple[int, ...], low: float = -np.inf) -> Float64Array:
            values = np.ascontiguousarray(members.array(f"{prefix}_{name}", shape))
            check_above(values, f"{prefix}_{name}", low)
            return values.reshape(shape)  # ascontiguousarray adds a dimension to a number

        posterior = assemble(
            array("weight_concentration", (2, K) if process else (K,), 0),
            array("mean_precision", (K,), 0),
            array("degrees_of_freedom", () if kind.conjugate.shared else (K,), D - 1),
            array("means", (K, D)), array("covariances", shape),
            array("precisions_cholesky", shape), kind.name, options.posterior == "conjugate",
        )  # fmt: skip
        check_values(posterior.covariances, f"{prefix}_covariances", kind)
        factor = posterior.mixture.prepared.precisions_cholesky
        check_values(factor, f"{prefix}_precisions_cholesky", kind)
        counts = array("counts", (K,))
        if (counts < 0).any():
            raise ValueError(f"{prefix}_counts should not be negative")
        moments = Moments(
            counts, array("sample_means", (K, D)), array("sample_covariances", shape)
        )
        entropy, bound = array("bounds", (2,)).tolist()
        return Inferred(posterior, moments, entropy, bound)

    return Form(_write, read, (K, D))


def _write(prefix: str, inferred: Inferred) -> dict[str, Float64Array]:
    """Return the arrays for a checkpoint."""
    moments = inferred.moments
    return {
        **_arrays(f"{prefix}_", inferred.posterior),
        f"{prefix}_counts": moments.counts,
        f"{prefix}_sample_means": moments.means,
        f"{prefix}_sample_covariances": moments.covariances,
        f"{prefix}_bounds": np.array([inferred.entropy, inferred.bound]),
    }


def _arrays(prefix: str, posterior: Posterior) -> dict[str, Float64Array]:
    """Return the arrays of a posterior by their names, which begin with the prefix."""
    return {
        f"{prefix}weight_concentration": posterior.weight_concentration,
        f"{prefix}mean_precision": posterior.mean_precision,
        f"{prefix}degrees_of_freedom": np.asarray(posterior.degrees_of_freedom),
        f"{prefix}means": posterior.mixture.means,
        f"{prefix}covariances": posterior.covariances,
        f"{prefix}precisions_cholesky": posterior.mixture.prepared.precisions_cholesky,
    }
