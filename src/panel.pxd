"""Operations on panels. A panel is WIDTH samples side by side, feature-major; two vectors make one of its rows."""
from layout cimport (
    real, vec, vec_set, vec_sum, vec_transpose, vec_transpose_some, vec_transpose_half_some, dvec, DLANES, dvec_set,
    dvec_sum, LANES, WIDTH,
)


cdef inline void load_panel(
    const real* X,          # IN  (n, D) rows
    const double* weight,   # IN  (n,) or NULL
    const real* stand_in,   # IN  (D,)
    real* x,                # OUT (D, WIDTH)
    Py_ssize_t n,           # number of rows, 1 to WIDTH
    Py_ssize_t D,
) noexcept nogil:
    """x[d, i] = X[i, d], or stand_in[d] if row i does not exist or has weight 0 (such a row may hold anything)"""
    load_some_rows(X, NULL, weight, stand_in, x, n, D)


cdef inline void load_some_rows(
    const real* X, const unsigned short* index, const double* weight, const real* stand_in, real* x,
    Py_ssize_t n, Py_ssize_t D,
) noexcept nogil:
    """load_panel for the rows in the index, or for the first rows if it is NULL"""
    cdef Py_ssize_t i, d
    cdef const real* row
    cdef const real* second = X + (LANES * D if index == NULL else 0)
    cdef const unsigned short* second_index = <const unsigned short*> NULL if index == NULL else index + LANES
    if n == WIDTH and weight == NULL:     # no row needs a stand-in
        d = 0
        while d + LANES <= D:
            vec_transpose_some(X + d, index, D, x + d * WIDTH, WIDTH)
            vec_transpose_some(second + d, second_index, D, x + d * WIDTH + LANES, WIDTH)
            d += LANES
        if LANES > 1 and d + LANES // 2 <= D:
            vec_transpose_half_some(X + d, index, D, x + d * WIDTH, WIDTH)
            vec_transpose_half_some(second + d, second_index, D, x + d * WIDTH + LANES, WIDTH)
            d += LANES // 2
        while d < D:
            for i in range(WIDTH):
                x[d * WIDTH + i] = X[(i if index == NULL else <Py_ssize_t> index[i]) * D + d]
            d += 1
        return
    for i in range(WIDTH):
        row = stand_in
        if i < n and (weight == NULL or weight[i] > 0):
            row = X + (i if index == NULL else <Py_ssize_t> index[i]) * D
        for d in range(D):
            x[d * WIDTH + i] = row[d]


cdef inline void store_panel(
    const real* x,          # IN  (D, WIDTH)
    real* rows,             # OUT (n, D)
    Py_ssize_t n,           # number of rows, 1 to WIDTH
    Py_ssize_t D,
) noexcept nogil:
    """rows[i, d] = x[d, i]"""
    cdef Py_ssize_t i, j, d = 0
    if n == WIDTH:
        while d + LANES <= D:
            vec_transpose(x + d * WIDTH, WIDTH, rows + d, D)
            vec_transpose(x + d * WIDTH + LANES, WIDTH, rows + LANES * D + d, D)
            d += LANES
    for i in range(n):
        for j in range(d, D):
            rows[i * D + j] = x[j * WIDTH + i]


cdef inline vec difference(const real* x, real hi, real lo) noexcept nogil:
    """x - (hi + lo) for one vector of samples; Mixture in layout.pxd says why there are two"""
    if sizeof(real) == 4:
        return ((<const vec*> x)[0] - hi) - lo
    return (<const vec*> x)[0] - hi


cdef inline void subtract_panel(
    const real* x,          # IN  (D, WIDTH)
    const real* hi,         # IN  (D,)
    const real* lo,         # IN  (D,)
    real* z,                # OUT (D, WIDTH)
    Py_ssize_t D,
) noexcept nogil:
    """z = x - (hi + lo)"""
    cdef Py_ssize_t d
    for d in range(D):
        (<vec*> z)[2 * d] = difference(x + d * WIDTH, hi[d], lo[d])
        (<vec*> z)[2 * d + 1] = difference(x + d * WIDTH + LANES, hi[d], lo[d])


cdef inline void split(const double* a, real* out, Py_ssize_t n) noexcept nogil:
    """out[:n] = a rounded to reals, out[n:] = a - out[:n]"""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = <real> a[i]
        out[n + i] = <real> (a[i] - <double> out[i])


cdef inline double sum_rows(
    const real* a,          # IN one row of WIDTH in each panel
    Py_ssize_t stride,      # from a panel to the next
    Py_ssize_t n_panels,
) noexcept nogil:
    """Return the sum of a over the samples of a tile"""
    cdef vec s0 = vec_set(0), s1 = vec_set(0)
    cdef Py_ssize_t p
    for p in range(n_panels):
        s0 = s0 + (<const vec*> (a + p * stride))[0]
        s1 = s1 + (<const vec*> (a + p * stride))[1]
    return vec_sum(s0 + s1)


cdef inline double sum_some_rows(
    const real* a,          # IN (n_slots, WIDTH)
    const unsigned int* slots,      # IN (n,)
    Py_ssize_t n,
) noexcept nogil:
    """Return the sum of some rows of a"""
    cdef vec s0 = vec_set(0), s1 = vec_set(0)
    cdef Py_ssize_t i
    for i in range(n):
        s0 = s0 + (<const vec*> (a + slots[i] * WIDTH))[0]
        s1 = s1 + (<const vec*> (a + slots[i] * WIDTH))[1]
    return vec_sum(s0 + s1)


cdef inline double sum_doubles(const double* a, Py_ssize_t n) noexcept nogil:
    """Return the sum of a; n is a multiple of WIDTH"""
    cdef dvec s0 = dvec_set(0), s1 = dvec_set(0)
    cdef Py_ssize_t i
    for i in range(n // (2 * DLANES)):
        s0 = s0 + (<const dvec*> a)[2 * i]
        s1 = s1 + (<const dvec*> a)[2 * i + 1]
    return dvec_sum(s0 + s1)


cdef inline double dot(const double* a, const double* b, Py_ssize_t n) noexcept nogil:
    """Return the sum of a[i] b[i]; the order of the sum depends only on n and on the instruction set"""
    cdef dvec s0 = dvec_set(0), s1 = dvec_set(0)
    cdef Py_ssize_t i = 0
    cdef double tail = 0
    while i + 2 * DLANES <= n:
        s0 = s0 + (<const dvec*> (a + i))[0] * (<const dvec*> (b + i))[0]
        s1 = s1 + (<const dvec*> (a + i))[1] * (<const dvec*> (b + i))[1]
        i += 2 * DLANES
    while i < n:
        tail += a[i] * b[i]
        i += 1
    return dvec_sum(s0 + s1) + tail
