"""Run each micro-kernel in a loop on a tile. benchmarks/micro.py builds this; it is not part of the package."""
from time import thread_time

from libc.string cimport memcpy

from layout cimport real, Tile, vec, WIDTH
from linalg cimport cholesky, invert_lower
from moments cimport outer_products, scatter, weighted_moments
from panel cimport load_panel, store_panel
from tile cimport normalize, squared_distances, tile_in, tile_samples, tile_size
from vmath cimport exp_nonpositive, log_positive
from whiten cimport whiten

cdef enum:
    K = 8       # components, for kernels that take several


def sizes(Py_ssize_t D):
    """Return the number of samples in a tile, the size of the scratch array, and the bytes of a real."""
    return tile_samples(K, D), tile_size(K, D), sizeof(real)


def run(
    str kernel,
    const real[::1] X,      # IN  (samples D,)
    real[::1] x,            # IN  (samples D,) by panels
    real[::1] weight,       # IN  (samples,)
    real[::1] points,       # IN  (4 D + D (D + 1) / 2,) points or a triangular factor
    real[::1] out,          # OUT (samples D,)
    const double[:, ::1] matrix,  # IN  (D, D) positive definite, C-contiguous
    double[::1] sums,       # OUT (4 D D,)
    real[::1] scratch,      # TMP (tile_size,)
    int rounds,
):
    """Return the seconds of `rounds` runs over the samples, or over one matrix."""
    cdef Py_ssize_t D = matrix.shape[0], n_panels = weight.shape[0] // WIDTH, p, i
    cdef Tile tile = tile_in(&scratch[0], K, D)
    cdef real* zero = &out[0]
    cdef double* triangles = &sums[D * D]
    cdef int n
    tile.n_panels = n_panels
    tile.n_samples = n_panels * WIDTH
    for i in range(tile.n_samples):
        tile.weight[i] = 1
    for i in range(tile.n_samples * K):
        tile.r[i] = -(i // WIDTH % K)
    out[:] = 0
    begin = thread_time()
    for n in range(rounds):
        if kernel == "load_panel":
            for p in range(n_panels):
                load_panel(&X[p * WIDTH * D], NULL, NULL, &out[p * WIDTH * D], WIDTH, D)
        elif kernel == "store_panel":
            for p in range(n_panels):
                store_panel(&x[p * WIDTH * D], &out[p * WIDTH * D], WIDTH, D)
        elif kernel == "squared_distances":
            for p in range(n_panels):
                squared_distances(&x[p * WIDTH * D], &points[0], &points[0], NULL, tile.r + 4 * p * WIDTH, 4, D)
        elif kernel == "whiten":
            for p in range(n_panels):
                whiten(&x[p * WIDTH * D], &points[0], NULL, tile.r + p * WIDTH, D)
        elif kernel == "scatter":
            scatter(&x[0], &weight[0], WIDTH, zero, zero, tile.wz, &sums[0], triangles, D, n_panels, NULL, NULL)
        elif kernel == "weighted_moments":
            weighted_moments(&x[0], &weight[0], zero, zero, &sums[0], triangles, 1, D, n_panels, NULL)
        elif kernel == "outer_products":
            outer_products(&x[0], &x[0], triangles, D, n_panels)
        elif kernel == "normalize":
            normalize(&tile, K)     # the responsibilities of the last round
        elif kernel == "exp_nonpositive":
            for i in range(2 * n_panels):
                (<vec*> tile.r)[i] = exp_nonpositive((<const vec*> &weight[0])[i] * <real> -50)
        elif kernel == "log_positive":
            for i in range(n_panels * WIDTH):
                tile.total[i] = log_positive(<double> weight[i])
        elif kernel == "cholesky":
            memcpy(&sums[0], &matrix[0, 0], D * D * sizeof(double))
            cholesky(&sums[0], D)
        elif kernel == "invert_lower":
            invert_lower(&matrix[0, 0], &sums[0], D)
        else:
            raise ValueError(kernel)
    return thread_time() - begin
