"""Passes over data that come in batches: what `GaussianMixture.fit_batches` is given."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from gmm_core.core.errors import same_kind
from gmm_core.core.types import Float64Array, FloatArray, Names
from gmm_core.data.blocks import Block
from gmm_core.data.conversion import refuse_dask_collection
from gmm_core.data.passes import KernelPass
from gmm_core.data.subset import NO_ROWS, Totals
from gmm_core.data.validation import check_sample_weight, check_X

_NONE = np.empty(0)
_EXPECTED = (
    "batches should be an iterable that can be gone through again (such as a list), a callable "
    "that returns an iterable of batches, or a dataset of pyarrow; a batch is an array of shape "
    "(n_samples, n_features) or a tuple (array, sample_weight)"
)


class Batches:
    """The batches that a user hands over, checked, and gone through once for each pass.

    Parameters
    ----------
    batches : iterable, callable or dataset of pyarrow
        See `GaussianMixture.fit_batches`.
    verbose : int
        2 and more print the number of rows seen in a pass, each second.

    Attributes
    ----------
    totals : Totals
    n_features : int
    dtype : dtype
        float32 if all batches are, else float64.
    names : ndarray of object, or None

    Raises
    ------
    ValueError, TypeError
        Naming the batch, if one is not what it should be; if there are none.
    """

    def __init__(self, batches: Any, verbose: int = 0) -> None:
        self._batches = batches
        self._verbose = verbose
        self.n_features = 0  # before the first batch
        self.names: Names | None = None
        self.dtype: np.dtype[Any] = np.dtype(np.float32)
        self.totals: Totals = NO_ROWS
        self._n_rows_by_dtype: Counter[str] = Counter()
        for X, sample_weight, given in self._checked():
            self.n_features = X.shape[1]
            if (
                len(X)
                and self.totals.n_samples
                and self.totals.weighted != bool(len(sample_weight))
            ):
                raise ValueError("some batches have a sample_weight, and others have none")
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
        source = self._batches() if callable(self._batches) else self._batches
        refuse_dask_collection(source, "batches")
        for method in ("to_batches", "iter_batches"):  # dataset, table and file of pyarrow
            if hasattr(source, method):
                return iter(getattr(source, method)())
        if source is self._batches and hasattr(source, "__next__"):
            raise ValueError(f"batches can be gone through only once: {_EXPECTED}")
        if isinstance(source, (str, bytes, dict)) or not hasattr(source, "__iter__"):
            raise TypeError(f"got {type(source).__name__}; {_EXPECTED}")
        if getattr(source, "ndim", 3) < 3 or hasattr(source, "columns"):
            raise ValueError(f"got one array of shape {np.shape(source)}; {_EXPECTED}")
        return iter(source)

    def _checked(self) -> Iterator[tuple[FloatArray, Float64Array, str]]:
        """Check the batches of a pass; return samples, weights and the dtype that was given."""
        n_rows, told = 0, time.monotonic()
        for i, batch in enumerate(self._open()):
            X, sample_weight = (
                batch if isinstance(batch, tuple) and len(batch) == 2 else (batch, None)
            )
            try:
                array, names = check_X(
                    X, n_features=self.n_features or None, feature_names=self.names, min_samples=0
                )
                weight = check_sample_weight(sample_weight, len(array), may_be_zero=True)
            except (ValueError, TypeError) as error:
                raise same_kind(error, f"batch {i}: {error}") from error
            if not self.n_features:
                self.names = names
            given = str(getattr(X, "dtype", array.dtype))
            yield array, _NONE if weight is None else weight, given
            n_rows += len(array)
            if self._verbose > 1 and time.monotonic() > told + 1:
                print(f"  {n_rows} rows seen")
                told = time.monotonic()

    def arrays(self) -> Iterator[tuple[FloatArray, Float64Array]]:
        """Return the batches for the kernels: of one dtype, with weights of at most 1, or none."""
        seen, expected = NO_ROWS, self.totals
        n_rows_by_dtype: Counter[str] = Counter()
        for X, sample_weight, given in self._checked():
            if not len(X):
                continue
            seen = seen.and_rows(len(X), sample_weight)
            if seen.n_samples > expected.n_samples or seen.weighted != expected.weighted:
                break
            n_rows_by_dtype[given] += len(X)
            if X.dtype != np.float32 and self.dtype == np.float32:
                raise ValueError(
                    f"a batch is of {X.dtype} in this pass, and all were of float32 in the first: "
                    "batches must be the same in every pass"
                )
            yield X.astype(self.dtype, copy=False), np.ldexp(sample_weight, -expected.exponent)
        if seen != expected:
            raise ValueError(
                f"batches have {seen.n_samples} rows or more in this pass, of weight {seen.total}, "
                f"and had {expected.n_samples}, of weight {expected.total}, in the first: they "
                "must be the same in every pass"
            )
        for dtype, n in (n_rows_by_dtype - self._n_rows_by_dtype).items():
            raise ValueError(
                f"{self._n_rows_by_dtype[dtype] + n} rows of the batches are of {dtype} in this "
                f"pass, and {self._n_rows_by_dtype[dtype]} were in the first: batches must be the "
                "same in every pass"
            )


class BatchPass(KernelPass):
    """Passes over batches, in blocks of whole chunks, with the results of one array.

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
            covariance_type, n_threads,
        )  # fmt: skip
        self._batches = batches

    def blocks(self) -> Iterator[Block]:
        """Return the rows in blocks: whole chunks of a batch, and buffers filled from batches."""
        n, wave = self.buffer_rows, self.chunk_rows * self.n_threads
        weighted = self._batches.totals.weighted
        buffer = np.empty((n, self.n_features), self.dtype)
        buffer_weight = np.empty(n if weighted else 0)
        start = filled = 0
        for X, sample_weight in self._batches.arrays():
            at = 0
            while at < len(X):
                left = len(X) - at
                if not filled and left >= wave:
                    stop = at + min(left // wave * wave, self.slice_rows)
                    size = stop - at
                    yield Block(slice(start, start + size), X[at:stop], sample_weight[at:stop])
                    start += size
                else:
                    stop = at + min(n - filled, left)
                    size = stop - at
                    buffer[filled : filled + size] = X[at:stop]
                    if weighted:
                        buffer_weight[filled : filled + size] = sample_weight[at:stop]
                    filled += size
                    if filled == n:
                        yield Block(slice(start, start + n), buffer, buffer_weight)
                        start, filled = start + n, 0
                at = stop
        if filled:
            yield Block(slice(start, start + filled), buffer[:filled], buffer_weight[:filled])
