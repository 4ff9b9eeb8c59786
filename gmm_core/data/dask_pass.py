"""Passes over the chunks of a Dask array that the workers of a cluster hold.

A pass sends the parameters to the workers. One task for each chunk computes statistics, and further
tasks add these in a tree. The shape of the tree depends on the number of chunks alone, so results
are bit-identical for any number of workers.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, NamedTuple

import dask
import numpy as np
from dask import array as da
from distributed import Client, Future, futures_of, wait

from gmm_core.core.errors import same_kind
from gmm_core.core.types import Float64Array, FloatArray
from gmm_core.core.warn import warn
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.blocks import NO_NOISE, Block
from gmm_core.data.conversion import as_float_array
from gmm_core.data.digest import DataDigest
from gmm_core.data.measurement import NoiseRows, as_noise_rows, noise_shape_error, noisy_rows
from gmm_core.data.missing import completed
from gmm_core.data.patterns import has_missing
from gmm_core.data.skipping import HISTORY_BYTES, Order, Skipping
from gmm_core.data.subset import (
    NO_ROWS,
    Cursor,
    StartRows,
    Totals,
    draw_positions,
    present_rows,
)
from gmm_core.data.validation import check_sample_weight, check_X
from gmm_core.model.parameters import Mixture, Prepared
from gmm_core.model.statistics import Statistics

_FAN_IN = 8  # number of statistics that one task of the tree adds
_ATTEMPTS = 6  # number of times that a pass is tried if data or workers are lost
_PATIENCE = 5  # seconds without any worker before a warning is issued
# The errors that the client sees when a worker has died: a cancelled task or a broken connection.
_LOST = (CancelledError, OSError)
_NONE = np.empty(0)  # the weights of a chunk without weights


class DaskChunks:
    """The chunks of a Dask array in the memory of the workers, which check their values.

    Parameters
    ----------
    client : distributed.Client
    X : dask.array.Array of shape (n_samples, n_features)
        It is not chunked along the features.
    sample_weight : Dask array or series, array-like of shape (n_samples,), number or None
    dtype : dtype
        The dtype that the rows are converted to, float32 or float64.
    allow_nan : bool, default=False
        Whether NaN is allowed, as a missing value. Masked values then count as NaN.
    noise_covariance : Dask collection, array-like or None, default=None
        The measurement noise of the rows; see `noise_collection` and `measurement.as_noise_rows`.

    Attributes
    ----------
    totals : Totals
        The number and the weight of all rows, with the weights as they were given.
    n_features : int
    dtype : dtype
    is_rowwise : bool
        Whether values are missing, or the rows have noise; see `Pass`.

    Raises
    ------
    ValueError, TypeError
        If a chunk has a shape or values that a fit refuses (the message has the number of the
        chunk), if the number of weights or the shape of the noise does not fit the rows, or if all
        weights are 0.
    RuntimeError
        If the client is closed or restarted, or if data are lost with their workers.
    """

    def __init__(
        self,
        client: Client,
        X: da.Array,
        sample_weight: Any,
        dtype: np.dtype[Any],
        allow_nan: bool = False,
        noise_covariance: Any = None,
    ) -> None:
        self.client = client
        self.dtype = dtype
        self.n_features = int(X.shape[1])
        self._tasks: list[Future] = []
        check_owner(client, X, "X")
        given = [X]
        if dask.is_dask_collection(sample_weight):
            check_owner(client, sample_weight, "sample_weight")
            given.append(weights_array(sample_weight))
        if dask.is_dask_collection(noise_covariance):
            check_owner(client, noise_covariance, "noise_covariance")
            given.append(noise_collection(noise_covariance, X))
        # One call persists all of them, so tasks that they share run only once.
        X, *persisted = client.persist(given)
        if dask.is_dask_collection(sample_weight):
            sample_weight = persisted.pop(0)
        if dask.is_dask_collection(noise_covariance):
            noise_covariance = persisted.pop(0)
        chunks = _futures(X)
        if X.dtype != dtype:
            chunks = self._submit_each(
                _converted, chunks, range(len(chunks)), dtype=dtype, allow_nan=allow_nan
            )
            self._tasks = []
        self._chunks = chunks
        checked = self.run(
            lambda: self._submit_each(
                _checked, chunks, range(len(chunks)), n_features=self.n_features,
                allow_nan=allow_nan,
            )
        )  # fmt: skip
        # A filter may leave chunks without rows. These need no tasks.
        self._numbers = [i for i, (length, _) in enumerate(checked) if length]
        self._incomplete = any(incomplete for _, incomplete in checked)
        self.is_rowwise = self._incomplete or noise_covariance is not None
        self._chunks = [chunks[i] for i in self._numbers]
        self._lengths = [checked[i][0] for i in self._numbers]
        self._starts = [0, *np.cumsum(self._lengths).tolist()]
        self._befores = [NO_ROWS._replace(total=float(n), n_samples=n) for n in self._starts]
        self.totals = NO_ROWS.and_rows(self._starts[-1], _NONE)
        self._weights: Sequence[Future | None] = [None] * len(self._chunks)
        self._noise: Sequence[Future | None] = [None] * len(self._chunks)
        if sample_weight is not None and self._chunks:
            self._add_weights(sample_weight)
        if noise_covariance is not None and self._chunks:
            self._add_noise(noise_covariance)

    def _add_weights(self, sample_weight: Any) -> None:
        """Check the weights, divide them as the rows are divided, and find the totals."""
        n = self.totals.n_samples
        if dask.is_dask_collection(sample_weight):
            weights = self._with_lengths(sample_weight)
            check_weight_shape(weights, n)
            self._weights = self._divided(weights)
        else:
            weight = check_sample_weight(sample_weight, n)
            assert weight is not None
            self._weights = [self._send(part) for part in np.split(weight, self._starts[1:-1])]
            self._tasks = []
        totals_so_far = self.run(lambda: list(self._submit_totals_so_far()))
        self._befores = [NO_ROWS, *totals_so_far]
        self.totals = totals_so_far[-1]
        check_total_weight(self.totals.total)

    def _add_noise(self, noise_covariance: Any) -> None:
        """Divide the noise as the rows are divided, and check it."""
        n, D, is_shared = self.totals.n_samples, self.n_features, False
        if dask.is_dask_collection(noise_covariance):
            noise = self._with_lengths(noise_covariance)
            if noise.shape[0] != n:
                raise noise_shape_error(noise.shape, n, D)
            parts = self._divided(noise)
        else:
            values, is_shared = as_noise_rows(noise_covariance, n, D)
            if is_shared:
                parts = [self._send(values)] * len(self._chunks)
            else:
                parts = [self._send(part) for part in np.split(values, self._starts[1:-1])]
        self._noise = self._submit_each(
            _checked_noise, self._chunks, parts, self._numbers, is_shared=is_shared
        )
        self._tasks = []
        self.run(lambda: self._submit_each(len, self._noise))

    def _with_lengths(self, persisted: da.Array) -> da.Array:
        """Return a persisted array with the lengths of its chunks."""
        parts = _futures(persisted)
        lengths = self.run(lambda: self._submit_each(len, parts))
        array = persisted.copy()
        array._chunks = (tuple(lengths), *array.chunks[1:])
        return array

    def _divided(self, array: da.Array) -> list[Future]:
        """Return the chunks of an array that is divided as the rows are divided."""
        return _futures(self.client.persist(array.rechunk({0: tuple(self._lengths)})))

    def _submit_totals_so_far(self) -> Iterator[Future]:
        # Weights are added in the order of the rows, on which the drawn subset depends. So each
        # task needs the result of the one before.
        previous: Any = NO_ROWS
        for i, n, weight in zip(self._numbers, self._lengths, self._weights, strict=True):
            previous = self._submit(_totals, previous, weight, n, i)
            yield previous

    # --- tasks ------------------------------------------------------------------------------

    def _send(self, value: Any) -> Future:
        """Send a value to the workers, as the result of a task.

        The scheduler keeps the value and can send it again. A scattered value would be lost with
        its worker. The warning about large graphs is silenced, as a value may take megabytes.
        """
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 PB"}):
            return self._submit(_itself, value)

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Submit one task."""
        self._tasks.append(self.client.submit(function, *arguments, key=_key(function), pure=False))
        return self._tasks[-1]

    def _submit_each(
        self, function: Callable[..., Any], *arguments: Any, **common: Any
    ) -> list[Future]:
        """Submit a task for each element of the arguments; `common` goes to all of them."""
        key = f"gmm_core{function.__name__}"
        tasks = self.client.map(function, *arguments, key=key, pure=False, **common)
        self._tasks += tasks
        return list(tasks)

    def run(self, submit: Callable[[], list[Future]]) -> list[Any]:
        """Call `submit` and return the results of its tasks.

        The scheduler itself repeats tasks whose results were lost with a worker. If the tasks fail
        nevertheless because a worker was lost, `submit` is called again. Data that the user sent to
        the lost worker alone cannot be restored.

        Parameters
        ----------
        submit : callable
            Submits tasks and returns their futures.

        Raises
        ------
        RuntimeError
            If the client was closed or restarted, or if the tasks were lost repeatedly.
        """
        for attempt in range(_ATTEMPTS):
            try:
                if attempt:
                    time.sleep(attempt - 1)
                return gather(self.client, submit())
            except _LOST as error:
                if any(task.status == "error" for task in self._tasks):
                    raise
                self._check_client(error)
                lost = error
            except BaseException as error:  # Ctrl-C also cancels the tasks that have not begun
                if self.client.status == "running":
                    self.client.cancel(self._tasks)
                elif isinstance(error, Exception):
                    self._check_client(error)
                raise
            finally:
                self._tasks = []
        raise RuntimeError(
            f"{_ATTEMPTS} attempts to run a pass over the data failed, as workers were lost. "
            "Perhaps no worker is left, or a lost worker had the only copy of some data, such as a "
            f"scattered array. The last error was {type(lost).__name__}: {lost}"
        ) from lost

    def _check_client(self, error: Exception) -> None:
        """Raise RuntimeError if tasks failed because the client was closed or restarted."""
        if self.client.status != "running":
            raise RuntimeError(
                f"the client was closed during the fit (its status is {self.client.status!r}): fit "
                "again with a client that stays open until the fit has ended"
            ) from error
        # If the restart happened between two passes, only the errors of the persisted chunks
        # mention it.
        try:
            self.client.gather([chunk for chunk in self._chunks if chunk.status == "cancelled"])
            reason = str(error)
        except CancelledError as cancelled:
            reason = f"{error} {cancelled}"
        if "scheduler-restart" in reason:
            raise RuntimeError(
                "the client was restarted during the fit, so the data on the workers are gone: fit "
                "again"
            ) from error

    def sum(
        self,
        function: Callable[..., Float64Array],
        arguments: tuple[Prepared | None, Float64Array | None, _Skip | None],
    ) -> Float64Array:
        """Call a function for each chunk, and return the sum of the results.

        Parameters
        ----------
        function : callable
            One of the tasks below that returns an array of sums.
        arguments : tuple (prepared, shift, skip)
            The mixture, if the function needs one, the origins of the moments, and the state of a
            fit that skips pairs. Every task gets them.
        """

        def submit() -> list[Future]:
            # The parameters may take megabytes, so they are sent once and not with each task.
            sent = self._send(arguments)
            parts = self._submit_each(
                function, self._chunks, self._weights, self._noise, self._starts[:-1],
                arguments=sent, exponent=self.totals.exponent, dtype=self.dtype,
                incomplete=self._incomplete,
            )  # fmt: skip
            while len(parts) > 1:
                groups = [parts[i : i + _FAN_IN] for i in range(0, len(parts), _FAN_IN)]
                parts = self._submit_each(_sum, groups)
            return parts

        total: Float64Array = self.run(submit)[0]
        return total

    def rows(self, size: int, seed: int | None) -> StartRows:
        """Return the rows that starts are found from; see `subset.rows_for_start`.

        Every task draws all random numbers itself, as that is cheaper than sending them.
        """
        parts = self.run(
            lambda: self._submit_each(
                _rows, self._chunks, self._weights, self._noise,
                self._befores[: len(self._chunks)],
                totals=self.totals, size=size, seed=seed, dtype=self.dtype,
            )
        )  # fmt: skip
        X, weight, noise = (np.concatenate(part) for part in zip(*parts, strict=True))
        rows = StartRows(X, weight if len(weight) else None, noise=noise)
        return completed(rows) if self.is_rowwise else rows

    def ranges(self, origin: Float64Array, axes: Float64Array) -> Float64Array:
        """Return the smallest and the largest coordinates; see `Pass.ranges`."""
        parts = self.run(
            lambda: self._submit_each(
                _ranges, self._chunks, self._weights, origin=origin, axes=axes, dtype=self.dtype
            )
        )
        low, high = zip(*parts, strict=True)
        return np.array([np.min(low, axis=0), np.max(high, axis=0)])

    def checksum(self) -> str:
        """Return the digest of all rows and weights, which does not depend on the chunks."""

        def submit() -> list[Future]:
            digest: Any = DataDigest()
            columns = zip(self._chunks, self._weights, self._noise, strict=True)
            for chunk, weight, noise in columns:
                digest = self._submit(
                    _digest, digest, chunk, weight, noise, self.totals.exponent, self.dtype
                )
            return [digest]

        digest: DataDigest = self.run(submit)[0]
        return digest.end()


class DaskPass:
    """Passes over the chunks of a cluster, with one task of one thread for each chunk.

    Parameters
    ----------
    chunks : DaskChunks
    n_threads : int
        Number of threads for the work of the client, which are the starts and the M-steps.
    """

    def __init__(self, chunks: DaskChunks, n_threads: int) -> None:
        self.n_samples = chunks.totals.n_samples
        self.n_features = chunks.n_features
        self.dtype = chunks.dtype
        self.n_threads = n_threads
        self._chunks = chunks
        self._order = Order()
        self._name = ""
        self._mean_weight: float | None = None

    def skip(self, mean_weight: float) -> None:
        """Allow the E-steps to skip pairs; see `Pass.skip`."""
        if not self.is_rowwise:
            self._mean_weight = mean_weight

    @property
    def is_rowwise(self) -> bool:
        """Whether rows have covariances of their own; see `Pass`."""
        return self._chunks.is_rowwise

    @property
    def order(self) -> Order:
        """The state of the fit that decides in which order the samples are summed."""
        return self._order

    @order.setter
    def order(self, order: Order) -> None:
        self._order = order
        self._name = uuid.uuid4().hex  # the histories of the workers belong to this state

    def _skip(self) -> _Skip | None:
        """Return what the tasks need to skip pairs."""
        if self._mean_weight is None:
            return None
        return _Skip(self._order, self._mean_weight, self._name)

    def expectation(self, mixture: Mixture, shift: Float64Array | None = None) -> Statistics:
        """Run the E-step; see `Pass.expectation`."""
        sums = self._chunks.sum(_expectation, (mixture.prepared, shift, self._skip()))
        values, times = sums[:-2], sums[-2:]
        if self._mean_weight is not None and shift is None:
            self._order = self._order.after(mixture.prepared, times)
        origin = mixture.means if shift is None else shift
        return Statistics(values, origin, mixture.covariance_type)

    def mean_log_likelihood(self, mixture: Mixture) -> float:
        """Return the weighted mean of the samples' log-likelihoods."""
        total, weight = self._chunks.sum(_log_likelihood, (mixture.prepared, None, self._skip()))
        return float(total / weight)

    def rows_for_start(self, totals: Totals, size: int, seed: int | None) -> StartRows:
        """Return the rows that starts are found from; see `Pass.rows_for_start`."""
        return self._chunks.rows(size, seed)

    def scatter(self, origin: Float64Array) -> Statistics:
        """Return the statistics of all samples as one component; see `Pass.scatter`."""
        return Statistics(self._chunks.sum(_scatter, (None, origin, None)), origin, "full")

    def ranges(self, origin: Float64Array, axes: Float64Array) -> Float64Array:
        """Return the smallest and the largest coordinates; see `Pass.ranges`."""
        return self._chunks.ranges(origin, axes)

    def checksum(self) -> str:
        """Return the digest of all samples and weights; see `Pass.checksum`."""
        return self._chunks.checksum()


def gather(client: Client, tasks: list[Future]) -> list[Any]:
    """Return the results of tasks, and warn if the cluster has no workers that could run them.

    After the warning, the function goes on waiting, as workers may start: an adaptive cluster
    starts some for these tasks.
    """
    without_workers = 0
    with client.as_current():
        while True:
            try:
                wait(tasks, timeout=1)
                break
            except TimeoutError:
                if any(task.status not in ("pending", "finished") for task in tasks):
                    break
            without_workers = 0 if client.nthreads() else without_workers + 1
            if without_workers == _PATIENCE:
                warn("the cluster has no workers: the fit waits until one has started")
    results: list[Any] = client.gather(tasks)
    return results


def check_owner(client: Client, collection: Any, name: str) -> None:
    """Raise ValueError if the client cannot use chunks that a collection already has."""
    for future in futures_of(collection):
        if future.cancelled():
            raise ValueError(
                f"{name} has chunks that were cancelled, as the client that made them was closed "
                f"or restarted: make {name} again, or persist it again"
            )
        theirs, ours = (owner.scheduler.address for owner in (future.client, client))
        if theirs != ours:
            raise ValueError(
                f"{name} has chunks on the cluster of {theirs}, but the current client belongs to "
                f"{ours}: fit within `with client.as_current():`, where client is that of {name}"
            )


def as_dask_array(collection: Any) -> Any:
    """Return a Dask series or data frame as an array, and anything else as it is."""
    # The class is asked, because `hasattr` is true for every name on a Delayed object.
    if hasattr(type(collection), "to_dask_array"):
        if collection.ndim == 2 and collection.columns.is_unique:
            # Nullable columns contain pandas.NA, which becomes NaN.
            nullable = {
                name: np.float64
                for name, dtype in collection.dtypes.items()
                if not isinstance(dtype, np.dtype) and getattr(dtype, "kind", "O") in "biuf"
            }
            collection = collection.astype(nullable) if nullable else collection
        # Fusing would give tasks that two columns have in common different names, so that these
        # tasks would run twice.
        return collection.to_dask_array(fuse=False)
    return collection


def weights_array(sample_weight: Any) -> da.Array:
    """Return weights, which are a Dask collection, as an array of one dimension.

    Raises
    ------
    TypeError
        If the weights are not a Dask array or series.
    ValueError
        If they have another number of dimensions.
    """
    array = as_dask_array(sample_weight)
    if not isinstance(array, da.Array):
        raise TypeError(
            f"sample_weight is a {type(sample_weight).__name__}, expected an array, a Dask array "
            "or a Dask series"
        )
    if array.ndim != 1:
        raise ValueError(
            f"sample_weight has {array.ndim} dimensions (shape {array.shape}), expected one weight "
            "for each row of X"
        )
    return array


def noise_collection(noise_covariance: Any, X: da.Array) -> da.Array:
    """Return noise, which is a Dask collection, as an array of rows of D or D² numbers.

    Parameters
    ----------
    noise_covariance : Dask array or data frame
        Variances of shape (n_samples, n_features) or covariances of shape (n_samples, n_features,
        n_features). There may be any chunks.
    X : dask.array.Array of shape (n_samples, n_features)

    Raises
    ------
    TypeError
        If the noise is not a Dask array or data frame.
    ValueError
        If it has neither of these shapes, as far as the number of rows is known.
    """
    array, D = as_dask_array(noise_covariance), X.shape[1]
    if not isinstance(array, da.Array):
        raise TypeError(
            f"noise_covariance is a {type(noise_covariance).__name__}, expected an array, a Dask "
            "array or a Dask data frame"
        )
    if array.shape[1:] not in ((D,), (D, D)):
        raise noise_shape_error(array.shape, X.shape[0], D)
    # No other array has this name: tasks of one name, fused here and not fused there, would clash.
    name = f"gmm_core-noise-{dask.base.tokenize(object())}"
    array = array.map_blocks(_itself, name=name, meta=array._meta)
    array = array.rechunk(dict.fromkeys(range(1, array.ndim), -1))
    if array.ndim == 2:
        return array
    return array.map_blocks(
        _flattened, drop_axis=2, chunks=(array.chunks[0], (D * D,)),
        meta=np.empty((0, D * D), array.dtype),
    )  # fmt: skip


def has_unknown_chunks(array: da.Array) -> bool:
    """Return whether the number of rows in some chunk is known only when it has been computed."""
    return any(np.isnan(length) for length in array.chunks[0])


def known_chunks(array: da.Array) -> da.Array:
    """Return the array with known lengths of its chunks, which are computed if necessary."""
    if has_unknown_chunks(array):
        array = array.copy()  # compute_chunk_sizes modifies the array
        array.compute_chunk_sizes()
    return array


def check_total_weight(total: float) -> None:
    """Raise ValueError if the sum of the weights is zero or infinite."""
    if not total > 0:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    if np.isinf(total):
        raise ValueError("The sum of sample_weight is too large for a float64")


def check_weight_shape(weights: da.Array, n_samples: int) -> None:
    """Raise ValueError if a Dask array does not have one weight for each sample."""
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected ({n_samples},)")


def _key(function: Callable[..., Any]) -> str:
    """Return a name for a task that no other task has."""
    return f"gmm_core{function.__name__}-{dask.base.tokenize(object())}"


def _futures(persisted: Any) -> list[Future]:
    """Return the futures of the chunks of a persisted array, in order."""
    futures = {future.key: future for future in futures_of(persisted)}
    return [futures[key] for key in dask.core.flatten(persisted.__dask_keys__())]


# --- tasks of the workers ---------------------------------------------------------------------


@contextmanager
def naming_chunk(i: int) -> Iterator[None]:
    """Put the number of the chunk into the message of a ValueError or TypeError."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise same_kind(error, f"chunk {i} of X: {error}") from error


def _converted(chunk: Any, i: int, dtype: np.dtype[Any], allow_nan: bool) -> FloatArray:
    """Return chunk i as an array of the dtype."""
    with naming_chunk(i):
        array: FloatArray = as_float_array(chunk, "X", masked_as_nan=allow_nan)
        return array.astype(dtype, copy=False)


def _checked(chunk: Any, i: int, n_features: int, allow_nan: bool) -> tuple[int, bool]:
    """Check chunk i, and return its number of rows, and whether a value is missing."""
    with naming_chunk(i):
        # refuses masked values that are not missing, which check_X would turn into NaN
        X = as_float_array(chunk, "X", masked_as_nan=allow_nan)
        array, _ = check_X(X, n_features=n_features, min_samples=0, allow_nan=allow_nan)
        return len(array), allow_nan and has_missing(array)


def _checked_noise(chunk: FloatArray, noise: Any, i: int, is_shared: bool) -> Float64Array:
    """Check the noise of chunk i, and return it as the kernels take it."""
    with naming_chunk(i):
        checked = noisy_rows(_without_mask(chunk), NoiseRows(noise, is_shared)).noise
        return checked[:1] if is_shared else checked


def _flattened(matrices: Any) -> Any:
    """Return a chunk of matrices as rows of numbers."""
    n, D, _ = matrices.shape
    return matrices.reshape(n, D * D)


def _totals(before: Totals, sample_weight: Any, n: int, i: int) -> Totals:
    """Check the weights of the n rows of chunk i, and return the totals up to its end."""
    with naming_chunk(i):
        weight = check_sample_weight(sample_weight, n, may_be_zero=True)
        assert weight is not None
        return before.and_rows(n, weight)


def _without_mask(chunk: FloatArray) -> FloatArray:
    """Return a chunk with NaN for masked values."""
    if isinstance(chunk, np.ma.MaskedArray):
        return np.ma.filled(chunk, np.nan)
    return chunk


def _for_kernels(
    chunk: FloatArray, sample_weight: Any, exponent: int, dtype: np.dtype[Any]
) -> tuple[FloatArray, Float64Array]:
    """Return rows and scaled weights for the kernels; the rows are copied only if necessary."""
    X: FloatArray = np.require(_without_mask(chunk), dtype, ["C", "A"])
    if sample_weight is None:
        return X, _NONE
    return X, np.ldexp(np.asarray(sample_weight, np.float64), -exponent)


def _noise_of(n: int, noise: Float64Array | None) -> Float64Array:
    """Return the noise of n rows for the kernels; see `Block`."""
    if noise is None:
        return NO_NOISE
    values: Float64Array = np.require(noise, np.float64, ["C", "A"])
    return np.broadcast_to(values, (n, values.shape[1]))


class _ChunkPass(ArrayPass):
    """A pass of one thread over a chunk; its first row has the number `start` in X."""

    def __init__(
        self,
        X: FloatArray,
        sample_weight: Float64Array,
        start: int,
        prepared: Prepared,
        incomplete: bool,
        noise: Float64Array,
    ) -> None:
        K = len(prepared.weights)
        weight = sample_weight if len(sample_weight) else None
        super().__init__(X, weight, K, prepared.covariance_type, 1, incomplete, noise)
        self.first_row = start

    @property
    def history_bytes(self) -> int:
        """The memory of the history, of which a worker keeps that of many chunks."""
        return min(self.X.nbytes // 2, HISTORY_BYTES)

    def blocks(self) -> Iterator[Block]:
        """Yield the slices of the chunk; their row numbers are those in X."""
        for rows, X, sample_weight, noise in super().blocks():
            start, stop = rows.start + self.first_row, rows.stop + self.first_row
            yield Block(slice(start, stop), X, sample_weight, noise)


def _expectation(
    chunk: FloatArray, sample_weight: Any, noise: Any, start: int, *,
    arguments: Any, exponent: int, dtype: Any, incomplete: bool,
) -> Float64Array:  # fmt: skip
    """Return the values of the statistics of a chunk, and the times for `Order.after`."""
    prepared, shift, skip = arguments
    X, weight = _for_kernels(chunk, sample_weight, exponent, dtype)
    chunk_pass = _ChunkPass(X, weight, start, prepared, incomplete, _noise_of(len(X), noise))
    with _chunk_pass(chunk_pass, skip) as data:
        if data.skipping is None:
            values, times = data.accumulate(prepared, shift).values, np.zeros(2)
        else:
            values, times = data.skipping.accumulate(prepared, shift)
        return np.concatenate([values, times])


def _log_likelihood(
    chunk: FloatArray, sample_weight: Any, noise: Any, start: int, *,
    arguments: Any, exponent: int, dtype: Any, incomplete: bool,
) -> Float64Array:  # fmt: skip
    """Return the log-likelihood of a chunk and its weight."""
    prepared, _, skip = arguments
    X, weight = _for_kernels(chunk, sample_weight, exponent, dtype)
    chunk_pass = _ChunkPass(X, weight, start, prepared, incomplete, _noise_of(len(X), noise))
    with _chunk_pass(chunk_pass, skip) as data:
        return data.log_likelihood(prepared)


class _Skip(NamedTuple):
    """What a task needs to skip pairs.

    Attributes
    ----------
    order : Order
    mean_weight : float
        See `Pass.skip`.
    name : str
        The name of the history, which no other fit has.
    """

    order: Order
    mean_weight: float
    name: str


# The histories that a worker keeps, by fit and first row. A task takes the one that it uses.
_histories: OrderedDict[tuple[str, int], Skipping] = OrderedDict()
_lock = threading.Lock()


@contextmanager
def _chunk_pass(data: _ChunkPass, skip: _Skip | None) -> Iterator[_ChunkPass]:
    """Give the history of a chunk to a pass over it, and keep it afterwards.

    The result does not depend on whether this worker has the history: the order follows from the
    state of the fit.
    """
    if skip is None:
        yield data
        return
    data.skip(skip.mean_weight)
    if data.skipping is None:
        yield data
        return
    key = (skip.name, data.first_row)
    with _lock:
        kept = _histories.pop(key, None)
    if kept is not None:
        kept.attach(data)
        data.skipping = kept
    data.order = skip.order
    yield data
    data.skipping.detach()
    with _lock:
        _histories[key] = data.skipping
        while sum(history.nbytes for history in _histories.values()) > HISTORY_BYTES:
            _histories.popitem(last=False)


def _scatter(
    chunk: FloatArray, sample_weight: Any, noise: Any, start: int, *,
    arguments: Any, exponent: int, dtype: Any, incomplete: bool,
) -> Float64Array:  # fmt: skip
    """Return the values of the statistics of a chunk, which has all values, as one component."""
    X, weight = _for_kernels(chunk, sample_weight, exponent, dtype)
    one = ArrayPass(X, weight if len(weight) else None, 1, "full", n_threads=1)
    return one.statistics(arguments[1]).values


def _ranges(
    chunk: FloatArray, sample_weight: Any, *, origin: Float64Array, axes: Float64Array, dtype: Any
) -> Float64Array:
    """Return the smallest and the largest coordinates of a chunk."""
    X, weight = _for_kernels(chunk, sample_weight, 0, dtype)
    return ArrayPass(X, weight if len(weight) else None, 1, "full", 1).ranges(origin, axes)


def _itself(value: Any) -> Any:
    """Return the value itself, so that it becomes the result of a task."""
    return value


def _sum(parts: list[Float64Array]) -> Float64Array:
    """Return the sum of arrays, added in their order."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _rows(
    chunk: FloatArray, sample_weight: Any, noise: Any, before: Totals, *,
    totals: Totals, size: int, seed: int | None, dtype: np.dtype[Any],
) -> tuple[FloatArray, Float64Array, Float64Array]:  # fmt: skip
    """Return the rows of a chunk that belong to the subset for starts, their weights and noise.

    Starts need the variances of the noise alone.
    """
    X, weight = _for_kernels(chunk, sample_weight, totals.exponent, dtype)
    n, D = X.shape
    values = _noise_of(n, noise)
    variances = values if values.shape[1] in (0, D) else values[:, :: D + 1]
    if seed is None:
        return present_rows(Block(slice(0, n), X, weight, variances), totals, size)
    positions = draw_positions(size, np.random.RandomState(seed))
    rows = Cursor(positions, totals, before).advance(n, weight)
    return X[rows], _NONE, variances[rows] if len(variances) else variances


def _digest(
    before: DataDigest, chunk: FloatArray, sample_weight: Any, noise: Any, exponent: int, dtype: Any
) -> DataDigest:
    """Return the digest of all rows up to the end of a chunk."""
    X, weight = _for_kernels(chunk, sample_weight, exponent, dtype)
    return before.and_rows(X, weight, _noise_of(len(X), noise))
