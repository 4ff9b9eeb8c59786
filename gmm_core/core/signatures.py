"""Signatures of the functions in the compiled modules, for type checkers.

Each source in src/ is built several times. The names of the modules end in the instruction set and
the element type. One class here describes all builds of a source. The source explains the arguments
of its functions.
"""

from __future__ import annotations

from typing import Protocol

from gmm_core.core.types import Bytes, Flags, Float32Array, Labels, LongDoubleArray, Places
from gmm_core.core.types import Float64Array as Double
from gmm_core.core.types import FloatArray as Real  # its element type is that of the build
from gmm_core.core.types import Indices as Status


class ExpectationKernels(Protocol):
    """The functions of src/_expectation.pyx, the kernels of the E-step."""

    def sizes(self, covariance_type: int, K: int, D: int) -> tuple[int, int, int, int]: ...

    def prepare(
        self, log_constant: Double, means: Double, precisions_cholesky: Double, log_noise: float,
        mixture: Real, covariance_type: int,
    ) -> int: ...

    def accumulate(
        self, X: Real, sample_weight: Double, responsibilities: Real, labels: Labels, mixture: Real,
        shift: Double, statistics: Double, partial: Double, scratch: Real, tickets: Status,
        covariance_type: int, K: int, chunk_rows: int, n_threads: int,
    ) -> int: ...

    def evaluate(
        self, X: Real, mixture: Real, log_prob: Real, log_likelihood: Real, responsibilities: Real,
        labels: Labels, scratch: Real, status: Status, covariance_type: int, K: int,
        chunk_rows: int, n_threads: int,
    ) -> int: ...

    def all_finite(self, values: Real, n_threads: int) -> bool: ...

    def exp_log(self, x: Real, exp_x: Real, y: Double, log_y: Double) -> None: ...


class RegionKernels(Protocol):
    """The functions of src/_regions.pyx, the kernels of the E-step that skips pairs."""

    def region_sizes(self, region_rows: int, K: int, D: int) -> tuple[int, int, float]: ...

    def accumulate_regions(
        self, X: Real, sample_weight: Double, mixture: Real, shift: Double, statistics: Double,
        partial: Double, scratch: Real, tickets: Status, index: Places, bounds: Bytes,
        floors: Float32Array, decode: Float32Array, smallest: Real, to_byte: Double,
        rescale: Float32Array, tallies: Status, sort: bool, covariance_type: int, region_rows: int,
        n_threads: int,
    ) -> int: ...

    def carry(
        self, factor_before: Double, means_before: Double, factor: Double, means: Double,
        log_constant: Double, weights: Double, smallest: Real, coding: Double,
        decode: Float32Array, to_byte: Double, rescale: Float32Array, scratch: Double,
        covariance_type: int,
    ) -> int: ...

    def score_sizes(self, region_rows: int, K: int, D: int) -> tuple[int, int, int]: ...

    def bound_distances(
        self, precisions_cholesky: Double, means: Double, log_constant: Double, coordinates: Real,
        centers: Float32Array, bounds: Float32Array, coding: Double, scratch: Double,
    ) -> int: ...

    def score_regions(
        self, X: Real, mixture: Real, coordinates: Real, centers: Float32Array,
        bounds: Float32Array, coding: Double, log_likelihood: Real, labels: Labels, n_bad: Double,
        partial: Double, scratch: Real, tickets: Status, tallies: Status, K: int, region_rows: int,
        n_threads: int,
    ) -> int: ...


class KMeansKernels(Protocol):
    """The functions of src/_kmeans.pyx, the kernels of k-means and of k-means++."""

    def packed_size(self, K: int, D: int) -> int: ...

    def lloyd_step(
        self, X: Real, sample_weight: Double, centers: Double, before: Double, origins: Double,
        labels: Labels, gaps: Real, distances: Real, sums: Double, partial: Double, packed: Real,
        drops: Real, tickets: Status, chunk_rows: int, n_threads: int,
    ) -> int: ...

    def move_centers(
        self, sums: Double, origins: Double, centers: Double, most: Double, moved: Double,
    ) -> tuple[int, int, float]: ...

    def seeding_step(
        self, X: Real, sample_weight: Double, points: Real, nearest: Real, chunk_sums: Double,
        scratch: Real, tickets: Status, chunk_rows: int, n_threads: int,
    ) -> int: ...


class RowwiseKernels(Protocol):
    """The functions of src/_rowwise.pyx, the E-step for rows with covariances of their own."""

    def rowwise_sizes(
        self, observation: int, chunk_rows: int, K: int, D: int
    ) -> tuple[int, int, int]: ...

    def rowwise_prepare(
        self, log_constant: Double, means: Double, factors: Double, mixture: Double,
        scratch: Double, log_total: float, observation: int,
    ) -> int: ...

    def rowwise_accumulate(
        self, X: Double, sample_weight: Double, noise: Double, mixture: Double, statistics: Double,
        partial: Double, scratch: Double, tickets: Status, observation: int, K: int,
        chunk_rows: int, n_threads: int,
    ) -> int: ...

    def rowwise_finish(
        self, statistics: Double, mixture: Double, scratch: Double, observation: int, K: int,
        D: int,
    ) -> int: ...

    def rowwise_evaluate(
        self, X: Double, noise: Double, mixture: Double, log_likelihood: Double,
        responsibilities: Double, labels: Labels, mean: Double, covariance: Double,
        scratch: Double, status: Status, observation: int, K: int, chunk_rows: int, n_threads: int,
    ) -> int: ...

    def first_indefinite(self, noise: Double, D: int, tolerance: float) -> int: ...


class HierarchyKernels(Protocol):
    """The functions of src/_hierarchy.pyx, the kernel of hierarchical clusters."""

    def agglomerate(
        self, means: Double, counts: Double, mergers: Status, scatters: Double, costs: Double,
        sums: Double, links: Status, matrix: Double, floor: float, negligible: float,
    ) -> int: ...


class StepwiseKernels(Protocol):
    """The functions of src/_stepwise.pyx, the kernel of stepwise EM."""

    def make_steps(
        self, X: Real, sample_weight: Double, ends: Status, sizes: Double, reg_covar: Double,
        values: Double, batch: Double, weights: Double, means: Double, covariances: Double,
        precisions_cholesky: Double, log_constant: Double, shift: Double, before: Double,
        empty: Flags, matrices: Double, mixture: Real, scratch: Real, e_step: int, m_step: int,
        embed: object, accumulate: object, maximize: object,
    ) -> int: ...


class SamplingKernels(Protocol):
    """The functions of src/_sampling.pyx, the kernels of drawing samples."""

    def unwhiten_scratch(self, D: int) -> int: ...

    def unwhiten_matrix(
        self, y: Double, factor: Double, mean: Double, x: Double, scratch: Double
    ) -> int: ...

    def unwhiten_features(self, y: Double, factor: Double, mean: Double, x: Double) -> int: ...


class MaximizationKernels(Protocol):
    """The functions of src/_maximization.pyx, the kernels of the M-step and of factors."""

    def scratch_size(self, covariance_type: int, K: int, D: int) -> int: ...

    def maximization_step(
        self, statistics: Double, shift: Double, reg_covar: Double, weights: Double, means: Double,
        covariances: Double, precisions_cholesky: Double, log_constant: Double, before: Double,
        scratch: Double, empty: Flags, covariance_type: int, n_threads: int,
    ) -> tuple[int, float]: ...

    def principal_axes(self, matrices: Double, axes: Double) -> int: ...

    def factor(
        self, covariances: Double, precisions_cholesky: Double, scratch: Double, K: int, D: int,
        covariance_type: int, n_threads: int,
    ) -> int: ...

    def log_normalization(
        self, weights: Double, precisions_cholesky: Double, log_constant: Double, D: int,
        covariance_type: int,
    ) -> int: ...

    def factor_precisions(
        self, precisions: Double, precisions_cholesky: Double, scratch: LongDoubleArray,
        n_threads: int,
    ) -> int: ...

    def precisions_and_covariances(
        self, precisions_cholesky: Double, precisions: Double, covariances: Double, scratch: Double,
        n_threads: int,
    ) -> int: ...
