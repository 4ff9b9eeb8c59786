"""Passes over chunks of rows that the workers of a Dask cluster hold.

Parameters go out, one task a chunk makes statistics, and these are added in a tree whose shape
follows from the number of chunks alone: the bits are the same for any number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

import dask
import numpy as np
import numpy.typing as npt
from distributed import Client, Future, futures_of

from gmm_core._digest import DataDigest
from gmm_core.parameters import Parameters
from gmm_core.passes import ArrayPass, Block, FloatArray
from gmm_core.statistics import Statistics
from gmm_core.subsample import NOTHING, Cursor, Extent, draw_positions, present_rows
from gmm_core.validation import as_float_array, check_sample_weight, check_X

Float64Array = npt.NDArray[np.float64]

_FAN_IN = 8  # statistics that one task of the tree adds
_ATTEMPTS = 6
# What a dead worker leaves behind on the client: tasks that cannot be run, or a broken connection.
_LOST = (CancelledError, OSError)
_NONE = np.empty(0)


class DaskChunks:
    """The rows of a dask array, in the memory of the workers, checked there.

    Parameters
    ----------
    client : distributed.Client
    X : dask.array.Array of shape (n_samples, n_features)
        Not chunked along the features.
    sample_weight : dask array or series, array-like of shape (n_samples,), number or None
    dtype : dtype
        float32 or float64: what the rows become.

    Attributes
    ----------
    extent : Extent
    n_features : int
    dtype : dtype

    Raises
    ------
    ValueError, TypeError
        If a chunk is not what it should be, naming it; if the weights have another length.
    """

    def __init__(self, client: Client, X: Any, sample_weight: Any, dtype: np.dtype[Any]) -> None:
        self.client = client
        self.dtype = dtype
        self.n_features = int(X.shape[1])
        self._tasks: list[Future] = []
        chunks = _persist(client, X)
        if X.dtype != dtype:
            chunks = self._submit_each(_converted, chunks, range(len(chunks)), dtype=dtype)
            self._tasks = []
        counts = self.run(
            lambda: self._submit_each(
                _checked_length, chunks, range(len(chunks)), n_features=self.n_features
            )
        )
        # An array has empty chunks where a filter left no rows; no task is needed for them.
        self._numbers = [i for i, count in enumerate(counts) if count]
        self._chunks = [chunks[i] for i in self._numbers]
        self._lengths = [counts[i] for i in self._numbers]
        self._starts = [0, *np.cumsum(self._lengths).tolist()]
        self._befores = [NOTHING._replace(total=float(n), n_samples=n) for n in self._starts]
        self.extent = NOTHING.and_rows(self._starts[-1], _NONE)
        self._weights: Sequence[Future | None] = [None] * len(self._chunks)
        if sample_weight is not None and self._chunks:
            self._add_weights(sample_weight)

    def _add_weights(self, sample_weight: Any) -> None:
        n = self.extent.n_samples
        if dask.is_dask_collection(sample_weight):
            weights = known_chunks(as_dask_array(sample_weight))
            check_weight_shape(weights, n)
            self._weights = _persist(self.client, weights.rechunk((tuple(self._lengths),)))
        else:
            weight = check_sample_weight(sample_weight, n)
            assert weight is not None
            parts = np.split(weight, self._starts[1:-1])
            self._weights = [self._send(part) for part in parts]
            self._tasks = []
        extents = self.run(lambda: list(self._submit_extents()))
        self._befores = [NOTHING, *extents]
        self.extent = extents[-1]

    def _submit_extents(self) -> Iterator[Future]:
        # One after the other, as is the rule for subsamples: sums depend on the order.
        previous: Any = NOTHING
        for i, n, weight in zip(self._numbers, self._lengths, self._weights, strict=True):
            previous = self._submit(_extent, previous, weight, n, i)
            yield previous

    # --- tasks ------------------------------------------------------------------------------

    def _send(self, value: Any) -> Future:
        """A value as what a task makes: unlike one that is scattered it is not lost with a worker.

        It may have megabytes, which the scheduler keeps; a warning of that would be of no use.
        """
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"}):
            return self._submit(_itself, value)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        self._tasks.append(self.client.submit(function, *arguments, key=_key(function), pure=False))
        return self._tasks[-1]

    def _submit_each(
        self, function: Callable[..., Any], *arguments: Any, **common: Any
    ) -> list[Future]:
        key = f"gmm_core{function.__name__}"
        tasks = self.client.map(function, *arguments, key=key, pure=False, **common)
        self._tasks += tasks
        return list(tasks)

    def run(self, submit: Callable[[], list[Future]]) -> list[Any]:
        """The results of the tasks that `submit` makes, and makes again if they are lost.

        The scheduler itself runs tasks again that a dead worker had. What it cannot make again are
        data that the user sent to that worker alone.
        """
        for attempt in range(_ATTEMPTS):
            try:
                if attempt:
                    time.sleep(attempt - 1)
                results: list[Any] = self.client.gather(submit())
                return results
            except _LOST as error:
                failed = any(task.status == "error" for task in self._tasks)
                if failed or self.client.status != "running":
                    raise
                lost = error
            except BaseException:  # also Ctrl-C: what has not begun never will
                self.client.cancel(self._tasks)
                raise
            finally:
                self._tasks = []
        raise RuntimeError(
            f"{_ATTEMPTS} attempts to run a pass over the data failed, as workers were lost: none "
            "is left, or the data were lost with one, and nothing tells how to make them again "
            f"(such as scattered arrays). The last error: {type(lost).__name__}: {lost}"
        ) from lost

    def sum(
        self,
        function: Callable[..., Float64Array],
        arguments: tuple[Parameters, Float64Array | None],
    ) -> Float64Array:
        """The sum over the chunks of what the function makes of one and the arguments."""

        def submit() -> list[Future]:
            # once, not with each task: parameters may have megabytes
            sent = self._send(arguments)
            parts = self._submit_each(
                function, self._chunks, self._weights, self._starts[:-1],
                arguments=sent, exponent=self.extent.exponent, dtype=self.dtype,
            )  # fmt: skip
            while len(parts) > 1:
                groups = [parts[i : i + _FAN_IN] for i in range(0, len(parts), _FAN_IN)]
                parts = self._submit_each(_sum, groups)
            return parts

        total: Float64Array = self.run(submit)[0]
        return total

    def rows(self, size: int, seed: int | None) -> tuple[FloatArray, Float64Array | None]:
        """A subsample, by the rule of `gmm_core.subsample`; without a seed all rows, and weights.

        Every task makes all random numbers for itself: they are few, and need not be sent.
        """
        parts = self.run(
            lambda: self._submit_each(
                _rows, self._chunks, self._weights, self._befores[: len(self._chunks)],
                extent=self.extent, size=size, seed=seed, dtype=self.dtype,
            )
        )  # fmt: skip
        X, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        return X, weight if len(weight) else None

    def checksum(self) -> str:
        """Return the digest of all rows and weights, whatever chunks they come in."""

        def submit() -> list[Future]:
            digest: Any = DataDigest()
            for chunk, weight in zip(self._chunks, self._weights, strict=True):
                digest = self._submit(
                    _digest, digest, chunk, weight, self.extent.exponent, self.dtype
                )
            return [digest]

        digest: DataDigest = self.run(submit)[0]
        return digest.end()


class DaskPass:
    """Passes over the chunks, each by its own task.

    Parameters
    ----------
    chunks : DaskChunks
    n_components : int
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    n_threads : int
        Of the client's own work: the start and the M-steps. A task has one thread.
    """

    def __init__(
        self, chunks: DaskChunks, n_components: int, covariance_type: str, n_threads: int
    ) -> None:
        self.n_samples = chunks.extent.n_samples
        self.n_features = chunks.n_features
        self.dtype = chunks.dtype
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.n_threads = n_threads
        self._chunks = chunks

    def expectation(self, parameters: Parameters, shift: Float64Array | None = None) -> Statistics:
        """E-step; see `KernelPass.expectation`."""
        values = self._chunks.sum(_expectation, (_lean(parameters), shift))
        origin = parameters.means if shift is None else shift
        return Statistics(values, origin, self.covariance_type)

    def mean_log_likelihood(self, parameters: Parameters) -> float:
        """Weighted mean of the samples' log-likelihoods."""
        total, weight = self._chunks.sum(_log_likelihood, (_lean(parameters), None))
        return float(total / weight)

    def sample(
        self, extent: Extent, size: int, seed: int | None
    ) -> tuple[ArrayPass, float | Float64Array]:
        """The samples that starts are found from, brought here; see `KernelPass.sample`."""
        X, weight = self._chunks.rows(size, seed)
        kind = self.covariance_type
        return ArrayPass(X, weight, self.n_components, kind, self.n_threads), 0.0

    def checksum(self) -> str:
        """Return the digest of all samples and weights, whatever chunks they come in."""
        return self._chunks.checksum()


def _lean(parameters: Parameters) -> Parameters:
    """Without the covariances, which no E-step reads."""
    return parameters._replace(covariances=_NONE)


def as_dask_array(collection: Any) -> Any:
    """Turn a dask series or data frame into an array; arrays are ones."""
    if hasattr(type(collection), "to_dask_array"):
        return collection.to_dask_array()
    return collection


def known_chunks(array: Any) -> Any:
    """An array whose chunks have known lengths, which takes a computation if they have not."""
    if any(np.isnan(length) for length in array.chunks[0]):
        array = array.copy()  # what follows changes the array itself
        array.compute_chunk_sizes()
    return array


def check_weight_shape(weights: Any, n_samples: int) -> None:
    """Raise ValueError if a dask array is not one weight for each sample."""
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected ({n_samples},)")


def _key(function: Callable[..., Any]) -> str:
    return f"gmm_core{function.__name__}-{dask.base.tokenize(object())}"


def _persist(client: Client, array: Any) -> list[Future]:
    """The chunks, computed and kept, or where they are already."""
    persisted = client.persist(array)
    futures = {future.key: future for future in futures_of(persisted)}
    return [futures[key] for key in dask.core.flatten(persisted.__dask_keys__())]


# --- on the workers -------------------------------------------------------------------------------


def _converted(chunk: Any, i: int, dtype: np.dtype[Any]) -> FloatArray:
    try:
        array: FloatArray = as_float_array(chunk, "X").astype(dtype, copy=False)
        return array
    except (ValueError, TypeError) as error:
        raise type(error)(f"chunk {i} of X: {error}") from error


def _checked_length(chunk: FloatArray, i: int, n_features: int) -> int:
    try:
        return len(check_X(chunk, n_features=n_features, min_samples=0)[0])
    except (ValueError, TypeError) as error:
        raise type(error)(f"chunk {i} of X: {error}") from error


def _extent(before: Extent, sample_weight: Any, n: int, i: int) -> Extent:
    try:
        weight = check_sample_weight(sample_weight, n, may_be_zero=True)
    except (ValueError, TypeError) as error:
        raise type(error)(f"chunk {i} of X: {error}") from error
    assert weight is not None
    return before.and_rows(n, weight)


def _for_kernels(
    chunk: FloatArray, sample_weight: Any, exponent: int, dtype: np.dtype[Any]
) -> tuple[FloatArray, Float64Array]:
    """Rows and weights as the kernels read them; rows that are so already are not copied."""
    X: FloatArray = np.require(chunk, dtype, ["C", "A"])
    if sample_weight is None:
        return X, _NONE
    return X, np.ldexp(np.asarray(sample_weight, np.float64), -exponent)


class _ChunkPass(ArrayPass):
    """One thread's pass over a chunk whose first row has the number `start` among all."""

    def __init__(
        self, X: FloatArray, sample_weight: Float64Array, start: int, parameters: Parameters
    ) -> None:
        K = len(parameters.weights)
        weight = sample_weight if len(sample_weight) else None
        super().__init__(X, weight, K, parameters.covariance_type, n_threads=1)
        self._start = start

    def blocks(self) -> Iterator[Block]:
        """The slices with their rows, which are numbered among all."""
        for rows, X, sample_weight in super().blocks():
            yield Block(slice(rows.start + self._start, rows.stop + self._start), X, sample_weight)


def _expectation(
    chunk: FloatArray, sample_weight: Any, start: int, *, arguments: Any, exponent: int, dtype: Any
) -> Float64Array:
    parameters, shift = arguments
    X, weight = _for_kernels(chunk, sample_weight, exponent, dtype)
    return _ChunkPass(X, weight, start, parameters).expectation(parameters, shift).values


def _log_likelihood(
    chunk: FloatArray, sample_weight: Any, start: int, *, arguments: Any, exponent: int, dtype: Any
) -> Float64Array:
    parameters, _ = arguments
    X, weight = _for_kernels(chunk, sample_weight, exponent, dtype)
    return _ChunkPass(X, weight, start, parameters).log_likelihood(parameters)


def _itself(value: Any) -> Any:
    return value


def _sum(parts: list[Float64Array]) -> Float64Array:
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _rows(
    chunk: FloatArray, sample_weight: Any, before: Extent, *,
    extent: Extent, size: int, seed: int | None, dtype: np.dtype[Any],
) -> tuple[FloatArray, Float64Array]:  # fmt: skip
    X, weight = _for_kernels(chunk, sample_weight, extent.exponent, dtype)
    if seed is None:
        return present_rows(X, weight, extent, size)
    positions = draw_positions(size, np.random.RandomState(seed))
    return X[Cursor(positions, extent, before).advance(len(X), weight)], _NONE


def _digest(
    before: DataDigest, chunk: FloatArray, sample_weight: Any, exponent: int, dtype: Any
) -> DataDigest:
    return before.and_rows(*_for_kernels(chunk, sample_weight, exponent, dtype))
