"""Sums over chunks of rows on several threads, with the bits of one thread."""
from cython.parallel cimport prange

from layout cimport OK, real

# One chunk: sets `sums` to the chunk's; answers OK, a failure (< 0) or 1 + a row that ends the pass.
ctypedef Py_ssize_t (*Chunk)(const void* job, Py_ssize_t chunk, double* sums, real* scratch) noexcept nogil


cdef inline Py_ssize_t run_waves(
    Chunk run_chunk,
    const void* job,
    Py_ssize_t n_chunks,
    double* total,              # INOUT (size,) added to
    double* partial,            # TMP   (n_threads, size)
    Py_ssize_t size,
    real* scratch,              # TMP   (n_threads, scratch_size)
    Py_ssize_t scratch_size,
    Py_ssize_t* status,         # TMP   (n_threads,)
    int n_threads,
) noexcept nogil:
    """The first status that is not OK in the order of the chunks, or OK"""
    # The partition into chunks does not depend on the threads. These run a wave of chunks, one each;
    # then the sums of the wave are added in the order of the chunks, each thread a slice of the
    # entries. A single thread enters no OpenMP construct: a forked child must not.
    cdef Py_ssize_t wave = 0, n_wave, i
    cdef int t
    while wave < n_chunks:
        n_wave = min(<Py_ssize_t> n_threads, n_chunks - wave)
        if n_wave == 1:
            status[0] = run_chunk(job, wave, partial, scratch)
        else:
            for t in prange(<int> n_wave, num_threads=<int> n_wave, schedule="static", chunksize=1):
                status[t] = run_chunk(job, wave + t, partial + t * size, scratch + t * scratch_size)
        for i in range(n_wave):
            if status[i] != OK:
                return status[i]
        if n_wave == 1 or size < 4096:
            add_in_order(total, partial, size, n_wave, 0, size)
        else:
            for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1):
                add_in_order(total, partial, size, n_wave, size * t // n_threads, size * (t + 1) // n_threads)
        wave += n_wave
    return OK


cdef inline void add_in_order(
    double* total, const double* partial, Py_ssize_t size, Py_ssize_t n_wave, Py_ssize_t start, Py_ssize_t stop,
) noexcept nogil:
    """total[start:stop] += partial[0] + partial[1] + ..., from left to right"""
    cdef Py_ssize_t chunk, i
    for chunk in range(n_wave):
        for i in range(start, stop):
            total[i] += partial[chunk * size + i]
