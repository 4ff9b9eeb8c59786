"""Sums over chunks of rows on several threads, bit-identical to the sums on one thread."""
from cython.parallel cimport prange

from layout cimport OK, real


cdef extern from "ticket.h" nogil:
    Py_ssize_t ticket_take(Py_ssize_t* t)
    Py_ssize_t ticket_read(const Py_ssize_t* t)
    void ticket_set(Py_ssize_t* t, Py_ssize_t value)
    void ticket_wait(const Py_ssize_t* t, Py_ssize_t value)


# A function that does one chunk. It sets `sums` to the sums over the chunk, and returns OK, a negative status, or
# 1 + a row that ends the pass.
ctypedef Py_ssize_t (*Chunk)(const void* job, Py_ssize_t chunk, double* sums, real* scratch) noexcept nogil


cdef struct Chunks:
    Chunk run
    const void* job
    Py_ssize_t n_chunks
    double* total
    Py_ssize_t size             # number of sums
    Py_ssize_t n_slices
    Py_ssize_t* next_chunk      # the first chunk that no worker has taken
    Py_ssize_t* status          # status of the first chunk that is not OK
    Py_ssize_t* turn            # (n_slices,) the chunk that may add its slice of the sums


cdef inline Py_ssize_t run_chunks(
    Chunk run,
    const void* job,
    Py_ssize_t n_chunks,
    double* total,              # INOUT (size,) added to, or NULL
    double* partial,            # TMP   (n_threads, size), or NULL for a size of 0
    Py_ssize_t size,
    real* scratch,              # TMP   (n_threads, scratch_size)
    Py_ssize_t scratch_size,
    Py_ssize_t* tickets,        # TMP   (n_threads + 2,)
    int n_threads,
) noexcept nogil:
    """Add the sums over all chunks to total; return OK, or the status of the first chunk that is not OK"""
    # The partition into chunks does not depend on the number of threads, and the sums of the chunks are added in the
    # order of the chunks. So the result does not depend on the number of threads either, to the last bit. A worker
    # takes the next chunk, computes its sums, and adds them slice by slice, each slice when it is the turn of its
    # chunk. So several workers add at the same time, one behind the other. The lowest chunk that is being worked on
    # never waits, so there is no deadlock, however many workers really run at once. A single worker enters no OpenMP
    # construct, because that would hang in a forked child.
    cdef Chunks c
    cdef int t
    c.run, c.job, c.n_chunks, c.total, c.size, c.n_slices = run, job, n_chunks, total, size, n_threads
    c.next_chunk, c.status, c.turn = tickets, tickets + 1, tickets + 2
    for t in range(n_threads + 2):
        tickets[t] = 0
    if n_threads == 1:
        work(&c, partial, scratch)
    else:
        for t in prange(n_threads, num_threads=n_threads, schedule="static", chunksize=1):
            # An array of size 0 is NULL, and C does not allow adding even 0 to NULL.
            work(&c, partial + t * size if size else NULL, scratch + t * scratch_size if scratch_size else NULL)
    return c.status[0]


cdef inline void work(const Chunks* c, double* partial, real* scratch) noexcept nogil:
    """Take chunks and add their sums, until no chunk is left"""
    cdef Py_ssize_t chunk, slice_, i, status
    while True:
        chunk = ticket_take(c.next_chunk)
        if chunk >= c.n_chunks:
            return
        status = OK
        if ticket_read(c.status) == OK:
            status = c.run(c.job, chunk, partial, scratch)
        for slice_ in range(c.n_slices):
            ticket_wait(c.turn + slice_, chunk)
            if slice_ == 0 and status != OK and ticket_read(c.status) == OK:
                ticket_set(c.status, status)
            for i in range(c.size * slice_ // c.n_slices, c.size * (slice_ + 1) // c.n_slices):
                c.total[i] += partial[i]
            ticket_set(c.turn + slice_, chunk + 1)
