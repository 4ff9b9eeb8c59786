"""Sums over chunks of rows on several threads, with the bits of one thread."""
from cython.parallel cimport prange

from layout cimport OK, real


cdef extern from "ticket.h" nogil:
    Py_ssize_t ticket_take(Py_ssize_t* t)
    Py_ssize_t ticket_read(const Py_ssize_t* t)
    void ticket_set(Py_ssize_t* t, Py_ssize_t value)
    void ticket_wait(const Py_ssize_t* t, Py_ssize_t value)


# One chunk: sets `sums` to the chunk's; answers OK, a failure (< 0) or 1 + a row that ends the pass.
ctypedef Py_ssize_t (*Chunk)(const void* job, Py_ssize_t chunk, double* sums, real* scratch) noexcept nogil


cdef struct Chunks:
    Chunk run
    const void* job
    Py_ssize_t n_chunks
    double* total
    Py_ssize_t size             # of the sums
    Py_ssize_t n_slices
    Py_ssize_t* next_chunk      # the first not yet taken
    Py_ssize_t* status          # of the first chunk that is not OK
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
    """The status of the first chunk that is not OK, or OK"""
    # The partition into chunks does not depend on the threads, and their sums are added in the order of
    # the chunks: so the bits are those of one thread. Each worker takes the next chunk and adds its sums
    # slice by slice when it is that chunk's turn, so that workers follow one another through the slices.
    # The lowest chunk taken never waits: there is no deadlock, however many workers really run at once.
    # A single thread enters no OpenMP construct: a forked child must not.
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
            # C does not let one add even 0 to a NULL pointer, which `partial` is if the pass makes no sums
            work(&c, partial + t * size if size else NULL, scratch + t * scratch_size)
    return c.status[0]


cdef inline void work(const Chunks* c, double* partial, real* scratch) noexcept nogil:
    """Take chunks and add their sums until there are none left"""
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
