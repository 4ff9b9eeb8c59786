"""Passes that skip pairs of samples and components which do not count; see src/regions.pxd.

A pair does not count if dropping it changes no statistic by more than rounding. Between passes,
this module keeps the order in which the rows of each region are summed, and lower bounds on the
distances of groups of samples from the components. The bounds only save work. The order decides how
sums are rounded, so it is a part of the state of a fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from gmm_core.core.dispatch import check_status, regions
from gmm_core.core.types import AnyArray, Float32Array, Float64Array, FloatArray, Indices, Places
from gmm_core.data.blocks import Block
from gmm_core.data.subset import Totals
from gmm_core.model.covariance import COVARIANCE_TYPES, CovarianceType
from gmm_core.model.parameters import Prepared

Collect = Callable[[Block], None]

HISTORY_BYTES = 1 << 25  # memory for the history of data that are not an array in memory
_MIN_PASS_TIME = 1e5  # nanoseconds of a dense pass, below which nothing is looked at
_OCCASIONS = (0, 2, 8, 32, 128, 512, 2048)  # passes in which something rare is done
_LEAST_GAIN = 0.1  # a pass is dense if skipping would save a smaller share of its time
_EPS = 2.0**-50
_FALL = 4.0  # a component may lose this factor of its weight in an iteration


class _Constants(NamedTuple):
    """What a kernel reads and writes bounds with; see `Regions` in src/regions.pxd."""

    bounded: bool
    decode: Float32Array
    to_byte: Float64Array
    rescale: Float32Array


def _without_bounds(K: int) -> _Constants:
    """Return constants for a pass that evaluates all pairs."""
    return _Constants(
        False, np.empty((3, K), np.float32), np.empty((2, K)), np.empty((0, K), np.float32)
    )


class Order(NamedTuple):
    """The state of a fit that decides in which order the samples are summed.

    Attributes
    ----------
    reference : Prepared or None
        The mixture by whose components the rows are sorted; None for the natural order.
    sorted_in : int
        The number of the pass in which the reference was the mixture; -1 without a reference.
    n_passes : int
        The number of E-steps so far.
    age : int
        The number of E-steps since skipping began; -1 if passes are dense.
    """

    reference: Prepared | None = None
    sorted_in: int = -1
    n_passes: int = 0
    age: int = -1

    @property
    def looks(self) -> bool:
        """Whether the next pass, which is dense, finds out if skipping would pay."""
        return self.age < 0 and self.n_passes in _OCCASIONS

    @property
    def sorts(self) -> bool:
        """Whether the rows are sorted after the next pass."""
        return self.age in _OCCASIONS

    def after(self, prepared: Prepared, times: Float64Array) -> Order:
        """Return the state after an E-step.

        Parameters
        ----------
        prepared : Prepared
            The mixture of the E-step.
        times : ndarray of shape (2,)
            How long a pass takes that skips, and a dense pass; see `pass_times`.
        """
        n_passes, pays = self.n_passes + 1, bool(0 < times[0] <= (1 - _LEAST_GAIN) * times[1])
        if self.age < 0:
            return Order(n_passes=n_passes, age=0 if self.looks and pays else -1)
        if self.age == 1 and not pays:
            return Order(n_passes=n_passes)
        if self.sorts:
            return Order(prepared, self.n_passes, n_passes, self.age + 1)
        return self._replace(n_passes=n_passes, age=self.age + 1)


def region_rows(n_samples: int, n_components: int, chunk_rows: int) -> int:
    """Return the number of rows in a region, which consists of whole chunks.

    A region has enough rows that those of one component fill groups: if there can be, 8 groups on
    average. It has not so many that a few threads have all of them, or that they do not stay in the
    cache.
    """
    wanted = 128 * n_components
    rows = max(n_samples // 8, min(n_samples // 4, wanted), 2048)
    rows = min(rows, max(8192, wanted), 1 << 15)
    return max(1, round(rows / chunk_rows)) * chunk_rows


def pass_times(
    n_samples: int, n_components: int, n_features: int, kind: CovarianceType, share: float
) -> Float64Array:
    """Return how many nanoseconds a pass takes if it skips, and if it does not, roughly.

    The numbers were measured on one thread, in float64 with AVX-512, for groups of 16 samples.

    Parameters
    ----------
    n_samples, n_components, n_features : int
    kind : CovarianceType
    share : float
        The share of pairs that count.
    """
    K, D = n_components, n_features
    work = kind.pair_time(D)
    dense = K * (12 + work)
    skipping = 46 + 5.5 * D + 2 * K + share * K * (17 + 0.3 * D + 1.05 * work)
    moving = 9e3 + K * (270 + 0.25 * D**3)  # of the bounds, between passes
    return np.array([n_samples / 16 * skipping + moving, n_samples / 16 * dense])


def may_skip(
    n_samples: int, n_components: int, n_features: int, kind: CovarianceType, chunk_rows: int
) -> bool:
    """Return whether skipping can pay for data and a mixture of this size.

    Parameters
    ----------
    n_samples, n_components, n_features : int
    kind : CovarianceType
    chunk_rows : int
        The number of rows in a chunk.
    """
    skipping, dense = pass_times(n_samples, n_components, n_features, kind, 0.0)
    return (
        4 <= n_components <= 1 << 12
        and n_features <= 128  # there dense passes have kernels of their own
        and dense >= _MIN_PASS_TIME
        and skipping < dense
        and region_rows(n_samples, n_components, chunk_rows) <= 1 << 16  # row numbers of 16 bits
    )


def mean_weight_of(totals: Totals) -> float:
    """Return the mean weight of the samples, as a pass has them, rounded to a power of 2."""
    if not totals.weighted:
        return 1.0
    _, exponent = math.frexp(totals.total / totals.n_samples)
    return math.ldexp(1.0, exponent - totals.exponent)


class Source(Protocol):
    """What skipping needs of a pass; see `KernelPass`."""

    n_samples: int
    n_components: int
    n_features: int
    n_threads: int
    n_statistics: int
    dtype: np.dtype[Any]
    covariance_type: str
    code: int
    first_row: int
    tile_rows: int
    unit_rows: int
    mixture_buffer: FloatArray
    tickets: Indices

    def blocks(self) -> Iterator[Block]: ...  # noqa: D102
    def prepare(self, prepared: Prepared) -> None: ...  # noqa: D102
    def scratch(self, n_reals: int) -> FloatArray: ...  # noqa: D102
    def dense(  # noqa: D102
        self, prepared: Prepared, shift: Float64Array | None, size: int = ..., see: Collect = ...
    ) -> Float64Array: ...


class Skipping:
    """The history of the passes over some data, and the passes that use it.

    Parameters
    ----------
    data : Source
    mean_weight : float
        The mean of the sample weights, or a value near it.
    max_bytes : int
        The memory for the history.
    """

    def __init__(self, data: Source, mean_weight: float, max_bytes: int) -> None:
        self._order = Order()
        self.evaluated_share = 1.0  # of the pairs, in the last pass
        self._data = data
        self._kernels = regions(data.dtype)
        self._rows = data.unit_rows
        K, D = data.n_components, data.n_features
        self._n_scratch, self._group, self._step = self._kernels.region_sizes(self._rows, K, D)
        self._least_weight = mean_weight / _FALL
        group_bytes = K + 4
        n_groups = -(-data.n_samples // self._group)
        n_bounded = min(n_groups, (max_bytes - 2 * data.n_samples) // group_bytes)
        if n_bounded < n_groups:  # whole regions only
            per_region = self._rows // self._group
            n_bounded = max(0, n_bounded // per_region * per_region)
        self._n_groups, self._n_bounded = n_groups, n_bounded
        self._free()

    def _free(self) -> None:
        """Forget the history."""
        self._index: Places | None = None
        self._bounds = np.empty((0, self._data.n_components), np.uint8)
        self._floors = np.empty(0, np.float32)
        self._scratch = np.empty((0, 0), self._data.dtype)
        self._last: Prepared | None = None

    def reset(self, order: Order) -> None:
        """Continue from a state, with the history if it belongs to the state."""
        if (order.sorted_in, order.age < 0) != (self._order.sorted_in, self._order.age < 0):
            self._free()
        self._order = order

    def detach(self) -> None:
        """Let go of the data, and of memory that is no history."""
        self._scratch = self._scratch[:0]
        del self._data

    def attach(self, data: Source) -> None:
        """Use the history in a pass over the same data."""
        self._data = data

    @property
    def nbytes(self) -> int:
        """The memory that the history takes."""
        index = 0 if self._index is None else self._index.nbytes
        return index + self._bounds.nbytes + self._floors.nbytes

    # --- passes ---------------------------------------------------------------------------------

    def accumulate(
        self, prepared: Prepared, shift: Float64Array | None
    ) -> tuple[Float64Array, Float64Array]:
        """Return the values of the statistics, and the times for `Order.after`.

        With a shift the E-step is a repetition, which does not change the state.
        """
        order, times = self._order, np.zeros(2)
        if order.age >= 0:
            sort = order.sorts and shift is None
            values, times = self._skip(prepared, shift, sort, self._data.n_statistics)
        elif order.looks and shift is None:
            rows: list[FloatArray] = []
            values = self._data.dense(prepared, shift, see=self._collector(rows))
            times = self._look(rows)
        else:
            values = self._data.dense(prepared, shift)
        if shift is None:
            self._order = order.after(prepared, times)
            if self._order.age < 0:
                self._free()
        return values, times

    def log_likelihood(self, prepared: Prepared) -> Float64Array:
        """Return the log-likelihood and the weight; see `KernelPass.log_likelihood`."""
        if self._order.reference is None:
            return self._data.dense(prepared, None, size=2)
        return self._skip(prepared, None, False, 2)[0]

    def _skip(
        self, prepared: Prepared, shift: Float64Array | None, sort: bool, size: int
    ) -> tuple[Float64Array, Float64Array]:
        """Return the statistics, and the times for `Order.after`."""
        data, K = self._data, self._data.n_components
        if not len(self._scratch):
            self._scratch = data.scratch(self._n_scratch)
        if self._index is None:
            self._begin()
        smallest = self._smallest(prepared)
        tallies = self._run(prepared, shift, smallest, sort, values := np.zeros(size))
        if tallies is None:  # a sample has density 0: the dense pass names the first one
            self._free()  # only some of the regions were sorted and rescaled
            return data.dense(prepared, shift, size=size), np.zeros(2)
        if size > 2:
            counts = values[2 : 2 + K]
            expected = smallest.astype(np.float64) * (data.n_samples / _EPS)
            if (counts < expected).any():
                # A component has lost so much weight that pairs which count were dropped.
                self._run(prepared, shift, None, False, values := np.zeros(size))
        evaluated, counting = tallies.sum(axis=0).tolist()
        n_pairs = self._n_groups * K
        self.evaluated_share = evaluated / n_pairs
        return values, self._times(counting / n_pairs)

    def _run(
        self,
        prepared: Prepared,
        shift: Float64Array | None,
        smallest: FloatArray | None,
        sort: bool,
        values: Float64Array,
    ) -> Indices | None:
        """Add the statistics to `values`; return tallies, or None if a sample has density 0."""
        data, K = self._data, self._data.n_components
        assert self._index is not None
        data.prepare(prepared)
        constants = (
            self._constants(prepared, smallest)
            if smallest is not None and len(self._bounds)
            else _without_bounds(K)
        )
        if smallest is None:
            smallest = np.zeros(K, data.dtype)
        partial = np.empty((data.n_threads, len(values)))
        tallies = np.empty((-(-data.n_samples // self._rows), 2), np.intp)
        no_shift = np.empty((0, 0))
        for rows, X, sample_weight, _ in data.blocks():
            first = rows.start - data.first_row
            region = first // self._rows
            groups = slice(first // self._group, -(-(first + len(X)) // self._group))
            if not constants.bounded:
                groups = slice(0)
            status = self._kernels.accumulate_regions(
                X, sample_weight, data.mixture_buffer, no_shift if shift is None else shift, values,
                partial, self._scratch, data.tickets, self._index[first : first + len(X)],
                self._bounds[groups], self._floors[groups],
                constants.decode, smallest, constants.to_byte, constants.rescale,
                tallies[region:], sort, data.code, self._rows, data.n_threads,
            )
            check_status(status)
            if status:
                return None
        return tallies

    # --- history --------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Take memory for the history, and sort the rows if the fit has an order already."""
        data, K = self._data, self._data.n_components
        n = data.n_samples
        self._index = np.empty(n, np.uint16)
        for start in range(0, n, self._rows):
            self._index[start : start + self._rows] = np.arange(min(self._rows, n - start))
        if self._order.reference is not None:
            reference = self._order.reference
            self._run(reference, None, self._smallest(reference), True, np.zeros(2))
        self._bounds = np.zeros((self._n_bounded, K), np.uint8)
        self._floors = np.full(self._n_bounded, np.nan, np.float32)
        self._coding = np.array([np.full(K, self._step), np.zeros(K)])
        self._last = None

    def _smallest(self, prepared: Prepared) -> FloatArray:
        """Return the products of responsibility and squared distance up to which pairs are dropped.

        They are such that all samples together would change the count of a component by less than
        a rounding error, even if it has lost three quarters of its weight.
        """
        smallest: FloatArray = (prepared.weights * (_EPS * self._least_weight)).astype(
            self._data.dtype
        )
        return smallest

    def _constants(self, prepared: Prepared, smallest: FloatArray) -> _Constants:
        """Carry the bounds over to other parameters, and return what the kernel reads them with."""
        K, D = prepared.means.shape
        last = self._last or prepared
        self._last = None  # if this is interrupted, the bounds are lost
        decode, to_byte = np.empty((3, K), np.float32), np.empty((2, K))
        rescale = np.empty((2, K), np.float32)
        rescaled = self._kernels.carry(
            last.precisions_cholesky.reshape(-1), last.means,
            prepared.precisions_cholesky.reshape(-1), prepared.means, prepared.log_constant,
            prepared.weights, smallest, self._coding, decode, to_byte, rescale,
            np.empty(4 * K + 5 * D * D), self._data.code,
        )  # fmt: skip
        check_status(rescaled)
        self._last = prepared
        return _Constants(True, decode, to_byte, rescale if rescaled else rescale[:0])

    # --- whether it pays ------------------------------------------------------------------------

    def _times(self, share: float) -> Float64Array:
        """Return the times for `Order.after` if this share of pairs counts."""
        data = self._data
        kind = COVARIANCE_TYPES[data.covariance_type]
        return pass_times(data.n_samples, data.n_components, data.n_features, kind, share)

    @property
    def order(self) -> Order:
        """The state of the fit."""
        return self._order

    @property
    def _stride(self) -> int:
        """The distance of the rows that are looked at, about 1 % of all rows, but 256 to 4096."""
        n = self._data.n_samples
        return max(1, n // min(max(n // 128, 2 * self._data.n_components, 256), 4096))

    def _collector(self, rows: list[FloatArray]) -> Collect:
        stride, start = self._stride, self._data.first_row

        def collect(block: Block) -> None:
            first = -(block.rows.start - start) % stride
            part = block.X[first::stride]
            weight = block.sample_weight[first::stride]
            rows.append(part[weight > 0] if len(weight) else part.copy())

        return collect

    def _look(self, rows: list[FloatArray]) -> Float64Array:
        """Return the times for `Order.after`, from the pairs of some rows after they are sorted.

        The groups of these rows are looser than those of all rows, so more of their pairs count.
        """
        data, K = self._data, self._data.n_components
        X: AnyArray = np.concatenate(rows)
        n = len(X)
        if not n:
            return np.zeros(2)
        n_rows = -(-n // data.tile_rows) * data.tile_rows
        n_scratch, _, _ = self._kernels.region_sizes(n_rows, K, data.n_features)
        scratch = data.scratch(n_scratch)[:1]
        index, tallies = np.arange(n, dtype=np.uint16), np.empty((1, 2), np.intp)
        constants = _without_bounds(K)
        smallest = np.full(K, _EPS / K, data.dtype)
        for sort in (True, False):
            status = self._kernels.accumulate_regions(
                X, np.empty(0), data.mixture_buffer, np.empty((0, 0)), np.zeros(2),
                np.empty((1, 2)), scratch, data.tickets, index, np.empty((0, K), np.uint8),
                np.empty(0, np.float32), constants.decode, smallest, constants.to_byte,
                constants.rescale, tallies, sort, data.code, n_rows, 1,
            )  # fmt: skip
            check_status(status)
            if status:
                return np.zeros(2)
        return self._times(tallies[0, 1] / (-(-n // self._group) * K))
