"""Passes over the data that methods are given in batches."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gmm_core.core.errors import same_kind
from gmm_core.core.types import Float64Array, FloatArray, Names
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import NO_NOISE, Block
from gmm_core.data.conversion import refuse_dask_collection
from gmm_core.data.measurement import NoisyRows, noisy_rows
from gmm_core.data.passes import KernelPass
from gmm_core.data.patterns import has_missing
from gmm_core.data.subset import NO_ROWS, Totals
from gmm_core.data.validation import check_sample_weight, check_X

_NONE = np.empty(0)  # the weights of a batch without weights
_EXPECTED = (
    "batches should be an iterable that can be iterated over repeatedly (such as a list), a "
    "callable that returns an iterable of batches, or a dataset of pyarrow. A batch is an array of "
    "shape (n_samples, n_features), a tuple (array, sample_weight) or a tuple (array, "
    "sample_weight, noise_covariance), in which sample_weight may be None."
)
_SOME_WEIGHTED = "some batches have a sample_weight, and others have none"
_SOME_NOISY = (
    "all batches should have a noise_covariance of the same kind (variances or covariances), or "
    "none"
)


def checked_batches(
    batches: Any,
    check_rows: Callable[[Any], FloatArray],
    check_noise: Callable[[bool], None] | None = None,
    keep_empty: bool = False,
) -> Iterator[tuple[FloatArray | NoisyRows, Float64Array | None]]:
    """Return an iterator over the samples and the weights of the batches, which checks each batch.

    Parameters
    ----------
    batches : iterable, callable or dataset of pyarrow
        See `GaussianMixture.fit_batches`. They are read once, so that a generator will do.
    check_rows : callable
        Checks the samples of a batch, and returns them as an array.
    check_noise : callable, default=None
        Raises an error if batches should have measurement noise, or should have none, when it is
        told whether a batch has any. By default they may have it or not.
    keep_empty : bool, default=False
        Whether the iterator yields empty batches, too.

    Raises
    ------
    ValueError, TypeError
        If there is no iterator over batches. While the iterator is read, also if a batch cannot be
        used, in which case the message has its number; if there are no samples; or if only some of
        the batches have weights.
    """
    return _checked(_opened(batches), check_rows, check_noise, keep_empty)


def _checked(
    opened: Iterator[Any],
    check_rows: Callable[[Any], FloatArray],
    check_noise: Callable[[bool], None] | None,
    keep_empty: bool,
) -> Iterator[tuple[FloatArray | NoisyRows, Float64Array | None]]:
    """Check the batches of an iterator; see `checked_batches`."""
    n_samples, weighted = 0, False
    array: FloatArray | NoisyRows
    for i, batch in enumerate(opened):
        X, sample_weight, noise = _divided(batch)
        try:
            array = check_rows(X)
            weight = check_sample_weight(sample_weight, len(array), may_be_zero=True)
            if check_noise is not None:
                check_noise(noise is not None)
            if noise is not None:
                array = noisy_rows(array, noise)
        except (ValueError, TypeError) as error:
            raise same_kind(error, f"batch {i}: {error}") from error
        if not len(array):
            if keep_empty:
                yield array, weight
            continue
        if n_samples and weighted != (weight is not None):
            raise ValueError(_SOME_WEIGHTED)
        n_samples, weighted = n_samples + len(array), weight is not None
        yield array, weight
    if not n_samples:
        raise ValueError("batches have 0 rows in all, at least 1 is needed")


def refuse_weights_of_batches(sample_weight: object, noise_covariance: object = None) -> None:
    """Raise ValueError if weights or noise are given apart from the batches they belong to."""
    if sample_weight is not None:
        raise ValueError(
            "sample_weight is given for X in batches, expected batches that are tuples "
            "(array, sample_weight)"
        )
    if noise_covariance is not None:
        raise ValueError(
            "noise_covariance is given for X in batches, expected batches that are tuples "
            "(array, sample_weight, noise_covariance)"
        )


def _opened(batches: Any) -> Iterator[Any]:
    """Return an iterator over the batches as they were given."""
    source = batches() if callable(batches) else batches
    refuse_dask_collection(source, "batches")
    for method in ("to_batches", "iter_batches"):  # a dataset, table or file of pyarrow
        if hasattr(source, method):
            return iter(getattr(source, method)())
    if isinstance(source, (str, bytes, dict)) or not hasattr(source, "__iter__"):
        raise TypeError(
            f"batches (or the result of calling it) has type {type(source).__name__}. {_EXPECTED}"
        )
    if getattr(source, "ndim", 3) < 3 or hasattr(source, "columns"):
        raise ValueError(
            f"batches (or the result of calling it) is one array of shape {np.shape(source)}. "
            f"{_EXPECTED}"
        )
    return iter(source)


def _divided(batch: Any) -> tuple[Any, Any, Any]:
    """Return the samples, the weights and the noise of a batch."""
    if isinstance(batch, tuple) and len(batch) in (2, 3):
        return (*batch, None)[:3]
    return batch, None, None


@functools.lru_cache(maxsize=64)
def _name_of(dtype: np.dtype[Any]) -> str:
    """Return the name of a dtype, which takes NumPy as long as checking a small batch."""
    return str(dtype)


class Batches:
    """The batches that a user hands over. Each pass goes through them once and checks them.

    Parameters
    ----------
    batches : iterable, callable or dataset of pyarrow
        See `GaussianMixture.fit_batches`.
    verbose : int, default=0
        If it is 2 or more, the number of rows seen in a pass is printed every second.
    allow_nan : bool, default=False
        Whether NaN is allowed, as a missing value.

    Attributes
    ----------
    totals : Totals
        The number and the weight of all rows, with the weights as they were given.
    n_features : int
    dtype : dtype
        float32 if all batches are float32, else float64.
    names : ndarray of shape (n_features,), object, or None
        The names of the features, which the first batch has if it is a data frame.
    incomplete : bool
        Whether a value is NaN.
    noise_width : int
        The numbers that a row has for its measurement noise; see `KernelPass`.

    Raises
    ------
    ValueError, TypeError
        If a batch has a wrong shape, wrong values or a wrong type, or if the batches have fewer
        than two rows in all. The message has the number of the batch.
    """

    def __init__(self, batches: Any, verbose: int = 0, allow_nan: bool = False) -> None:
        self._batches = batches
        self._verbose = verbose
        self._allow_nan = allow_nan
        self.incomplete = False
        self.noise_width = 0
        self.n_features = 0  # it is not known before the first batch
        self.names: Names | None = None
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self.totals: Totals = NO_ROWS
        self._n_rows_by_dtype: Counter[str] = Counter()
        for X, sample_weight, noise, given in self._checked():
            self.n_features = X.shape[1]
            if len(X) and self.totals.n_samples and self.noise_width != noise.shape[1]:
                raise ValueError(_SOME_NOISY)
            if len(X):
                self.noise_width = noise.shape[1]
            self.incomplete |= allow_nan and has_missing(X)
            if (
                len(X)
                and self.totals.n_samples
                and self.totals.weighted != bool(len(sample_weight))
            ):
                raise ValueError(_SOME_WEIGHTED)
            self._n_rows_by_dtype[given] += len(X)
            if len(X) and X.dtype != np.float32:
                self.dtype = np.dtype(np.float64)
            self.totals = self.totals.and_rows(len(X), sample_weight)
        if self.totals.weighted and not 0 < self.totals.total < np.inf:
            raise ValueError(
                f"the sum of sample_weight is {self.totals.total}, expected a positive number"
            )
        if self.totals.n_samples < 2:
            raise ValueError(
                f"batches have {self.totals.n_samples} rows in all, at least 2 are needed"
            )

    def _open(self) -> Iterator[Any]:
        """Return an iterator over the batches for a pass, which must not be the last one."""
        opened = _opened(self._batches)
        if opened is self._batches:
            raise ValueError(f"batches can be iterated over only once. {_EXPECTED}")
        return opened

    def _checked(self) -> Iterator[tuple[FloatArray, Float64Array, Float64Array, str]]:
        """Check the batches of a pass.

        Yields
        ------
        X, sample_weight, noise : ndarray
            See `Block`.
        dtype : str
            The dtype that was given.
        """
        n_rows, told = 0, time.monotonic()
        for i, batch in enumerate(self._open()):
            X, sample_weight, noise_covariance = _divided(batch)
            try:
                array, names = check_X(
                    X, n_features=self.n_features or None, feature_names=self.names,
                    min_samples=0, allow_nan=self._allow_nan,
                )  # fmt: skip
                weight = check_sample_weight(sample_weight, len(array), may_be_zero=True)
                noise = NO_NOISE
                if noise_covariance is not None:
                    noise = noisy_rows(array, noise_covariance).noise
            except (ValueError, TypeError) as error:
                raise same_kind(error, f"batch {i}: {error}") from error
            if not self.n_features:
                self.names = names
            dtype = getattr(X, "dtype", array.dtype)
            given = _name_of(dtype) if isinstance(dtype, np.dtype) else str(dtype)
            yield array, _NONE if weight is None else weight, noise, given
            n_rows += len(array)
            if self._verbose > 1 and time.monotonic() > told + 1:
                print(f"  {n_rows} rows seen")
                told = time.monotonic()

    def arrays(self) -> Iterator[tuple[FloatArray, Float64Array, Float64Array]]:
        """Yield samples, weights and noise of the batches as the kernels take them.

        Empty batches are left out.

        All arrays have one dtype. The weights are scaled so that the largest is at most 1, or are
        an empty array.

        Raises
        ------
        ValueError
            If the batches differ from those of the first pass, or a batch cannot be used.
        """
        seen, expected = NO_ROWS, self.totals
        at_least, exponent = "", -expected.exponent
        n_rows_by_dtype: Counter[str] = Counter()
        for X, sample_weight, noise, given in self._checked():
            if not len(X):
                continue
            if noise.shape[1] != self.noise_width:
                raise ValueError(_SOME_NOISY)
            if self._allow_nan and not self.incomplete and has_missing(X):
                raise ValueError(
                    "a batch has missing values in this pass, but none had any in the first: "
                    "batches must be the same in every pass"
                )
            seen = seen.and_rows(len(X), sample_weight)
            if seen.n_samples > expected.n_samples or seen.weighted != expected.weighted:
                at_least = "at least "
                break
            n_rows_by_dtype[given] += len(X)
            if X.dtype != self.dtype:
                if self.dtype == np.float32:
                    raise ValueError(
                        f"a batch has dtype {X.dtype} in this pass, but all batches had dtype "
                        "float32 in the first: batches must be the same in every pass"
                    )
                X = X.astype(self.dtype)
            if expected.weighted:
                sample_weight = np.ldexp(sample_weight, exponent)
            yield X, sample_weight, noise
        if seen != expected:
            raise ValueError(
                f"batches must be the same in every pass: the first pass had {expected.n_samples} "
                f"rows of total weight {expected.total}, this pass has {at_least}{seen.n_samples} "
                f"rows of total weight {seen.total}"
            )
        for dtype, n in (n_rows_by_dtype - self._n_rows_by_dtype).items():
            raise ValueError(
                f"{self._n_rows_by_dtype[dtype] + n} rows of the batches have dtype {dtype} in "
                f"this pass, but {self._n_rows_by_dtype[dtype]} rows had it in the first: batches "
                "must be the same in every pass"
            )


class BatchPass(KernelPass):
    """Passes over batches, which it cuts into blocks of whole chunks.

    The results are bit-identical to those for one array of all rows.

    Parameters
    ----------
    batches : Batches
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
    """

    def __init__(
        self, batches: Batches, n_components: int, covariance_type: str, n_threads: int
    ) -> None:
        super().__init__(
            batches.totals.n_samples, batches.n_features, batches.dtype, n_components,
            covariance_type, n_threads, batches.incomplete, batches.noise_width,
        )  # fmt: skip
        self._batches = batches

    def resized(self, n_components: int, covariance_type: str) -> BatchPass:
        """Return a pass for other mixtures; see `KernelPass.resized`."""
        return BatchPass(self._batches, n_components, covariance_type, self.n_threads)

    def passes(self) -> Iterator[tuple[int, ArrayPass]]:
        """Yield a pass over each batch alone, with the number of rows before it."""
        start = 0
        for X, sample_weight, noise in self._batches.arrays():
            weight = sample_weight if len(sample_weight) else None
            yield start, ArrayPass(
                X, weight, self.n_components, self.covariance_type, self.n_threads,
                self.incomplete, noise,
            )  # fmt: skip
            start += len(X)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in blocks of whole chunks.

        Where whole chunks lie in one batch, a block is a slice of that batch. Other rows are copied
        into a buffer, which is a block when it is full.
        """
        n, wave = self.buffer_rows, self.unit_rows * self.n_threads  # wave: a unit per thread
        weighted = self._batches.totals.weighted
        buffer = np.empty((n, self.n_features), self.dtype)
        buffer_weight = np.empty(n if weighted else 0)
        width = self.noise_width
        buffer_noise = np.empty((n, width)) if width else NO_NOISE
        start = filled = 0
        for X, sample_weight, noise in self._batches.arrays():
            at = 0
            while at < len(X):
                left = len(X) - at
                if not filled and left >= wave:
                    stop = at + min(left // wave * wave, self.slice_rows)
                    size = stop - at
                    yield Block(
                        slice(start, start + size), X[at:stop], sample_weight[at:stop],
                        noise[at:stop],
                    )  # fmt: skip
                    start += size
                else:
                    stop = at + min(n - filled, left)
                    size = stop - at
                    buffer[filled : filled + size] = X[at:stop]
                    if weighted:
                        buffer_weight[filled : filled + size] = sample_weight[at:stop]
                    if width:
                        buffer_noise[filled : filled + size] = noise[at:stop]
                    filled += size
                    if filled == n:
                        yield Block(slice(start, start + n), buffer, buffer_weight, buffer_noise)
                        start, filled = start + n, 0
                at = stop
        if filled:
            yield Block(
                slice(start, start + filled), buffer[:filled], buffer_weight[:filled],
                buffer_noise[:filled],
            )  # fmt: skip
