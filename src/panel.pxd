"""Operations on panels: WIDTH samples side by side, feature-major. Two vectors make one row of a panel."""
from layout cimport real, vec, vec_set, vec_sum, dvec, DLANES, dvec_set, dvec_sum, LANES, WIDTH


cdef inline void load_panel(
    const real* X,          # IN  (n, D) rows
    const double* weight,   # IN  (n,) or NULL
    const real* stand_in,   # IN  (D,)
    real* x,                # OUT (D, WIDTH)
    Py_ssize_t n,           # rows there are, 1 to WIDTH
    Py_ssize_t D,
) noexcept nogil:
    """x[d, i] = X[i, d]; another row stands in for one that is missing or has no weight, whatever that holds"""
    cdef Py_ssize_t i, d
    cdef const real* row
    for i in range(WIDTH):
        row = X + i * D if i < n and (weight == NULL or weight[i] > 0) else stand_in
        for d in range(D):
            x[d * WIDTH + i] = row[d]


cdef inline void subtract_panel(
    const real* x,          # IN  (D, WIDTH)
    const real* hi,         # IN  (D,)
    const real* lo,         # IN  (D,)
    real* z,                # OUT (D, WIDTH)
    Py_ssize_t D,
) noexcept nogil:
    """z = x - (hi + lo)"""
    cdef Py_ssize_t d
    cdef const vec* source
    cdef vec* target
    for d in range(D):
        source = <const vec*> (x + d * WIDTH)
        target = <vec*> (z + d * WIDTH)
        if sizeof(real) == 4:
            target[0] = (source[0] - hi[d]) - lo[d]
            target[1] = (source[1] - hi[d]) - lo[d]
        else:
            target[0] = source[0] - hi[d]
            target[1] = source[1] - hi[d]


cdef inline void split(const double* a, real* out, Py_ssize_t n) noexcept nogil:
    """out[:n] + out[n:] = a, the first the nearest real"""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = <real> a[i]
        out[n + i] = <real> (a[i] - <double> out[i])


cdef inline double sum_rows(
    const real* a,          # IN one row of WIDTH in each panel
    Py_ssize_t stride,      # from panel to panel
    Py_ssize_t n_panels,
) noexcept nogil:
    """sum of a over the samples of a tile"""
    cdef vec s0 = vec_set(0), s1 = vec_set(0)
    cdef Py_ssize_t p
    for p in range(n_panels):
        s0 = s0 + (<const vec*> (a + p * stride))[0]
        s1 = s1 + (<const vec*> (a + p * stride))[1]
    return vec_sum(s0 + s1)


cdef inline double sum_doubles(const double* a, Py_ssize_t n) noexcept nogil:
    """sum of a; n is a multiple of WIDTH"""
    cdef dvec s0 = dvec_set(0), s1 = dvec_set(0)
    cdef Py_ssize_t i
    for i in range(n // (2 * DLANES)):
        s0 = s0 + (<const dvec*> a)[2 * i]
        s1 = s1 + (<const dvec*> a)[2 * i + 1]
    return dvec_sum(s0 + s1)


cdef inline double dot(const double* a, const double* b, Py_ssize_t n) noexcept nogil:
    """sum of a[i] b[i], in lanes; the order of the sum depends on n alone"""
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


cdef inline void outer_products(
    const real* a,          # IN  (n_panels, n, WIDTH)
    const real* b,          # IN  (n_panels, n, WIDTH)
    double* out,            # OUT (n (n + 1) / 2,) lower triangle by rows, added to
    Py_ssize_t n,
    Py_ssize_t n_panels,
) noexcept nogil:
    """out[i, j] += sum over samples of a[i] b[j], j <= i"""
    cdef Py_ssize_t i = 0, j, row
    cdef double* target
    while i + 4 <= n:
        j = 0
        while j < i:
            _outer_4x4(a + i * WIDTH, b + j * WIDTH, out, i, j, n * WIDTH, n_panels)
            j += 4
        _outer_4x4(a + i * WIDTH, b + i * WIDTH, out, i, i, n * WIDTH, n_panels)
        i += 4
    for row in range(i, n):
        target = out + row * (row + 1) // 2
        j = 0
        while j + 4 <= row + 1:
            _outer_1x4(a + row * WIDTH, b + j * WIDTH, target + j, n * WIDTH, n_panels)
            j += 4
        while j <= row:
            target[j] += _outer_1x1(a + row * WIDTH, b + j * WIDTH, n * WIDTH, n_panels)
            j += 1


cdef inline void _outer_4x4(
    const real* a, const real* b, double* out, Py_ssize_t i, Py_ssize_t j, Py_ssize_t stride, Py_ssize_t n_panels,
) noexcept nogil:
    """out[i + 0:4, j + 0:4] += a bT for rows of WIDTH samples; on the diagonal (i = j) the lower triangle only"""
    # Sixteen sums, lanes over samples: eight loads feed sixteen multiply-adds, and each sum ends
    # in one horizontal addition, in double.
    cdef vec s00 = vec_set(0), s01 = vec_set(0), s02 = vec_set(0), s03 = vec_set(0)
    cdef vec s10 = vec_set(0), s11 = vec_set(0), s12 = vec_set(0), s13 = vec_set(0)
    cdef vec s20 = vec_set(0), s21 = vec_set(0), s22 = vec_set(0), s23 = vec_set(0)
    cdef vec s30 = vec_set(0), s31 = vec_set(0), s32 = vec_set(0), s33 = vec_set(0)
    cdef vec a0, a1, a2, a3, c
    cdef Py_ssize_t p, v
    cdef const real* u
    cdef const real* w
    for p in range(n_panels):
        for v in range(2):
            u = a + p * stride + v * LANES
            w = b + p * stride + v * LANES
            a0 = (<const vec*> u)[0]
            a1 = (<const vec*> (u + WIDTH))[0]
            a2 = (<const vec*> (u + 2 * WIDTH))[0]
            a3 = (<const vec*> (u + 3 * WIDTH))[0]
            c = (<const vec*> w)[0]
            s00 = s00 + a0 * c
            s10 = s10 + a1 * c
            s20 = s20 + a2 * c
            s30 = s30 + a3 * c
            c = (<const vec*> (w + WIDTH))[0]
            s01 = s01 + a0 * c
            s11 = s11 + a1 * c
            s21 = s21 + a2 * c
            s31 = s31 + a3 * c
            c = (<const vec*> (w + 2 * WIDTH))[0]
            s02 = s02 + a0 * c
            s12 = s12 + a1 * c
            s22 = s22 + a2 * c
            s32 = s32 + a3 * c
            c = (<const vec*> (w + 3 * WIDTH))[0]
            s03 = s03 + a0 * c
            s13 = s13 + a1 * c
            s23 = s23 + a2 * c
            s33 = s33 + a3 * c
    cdef double* target = out + i * (i + 1) // 2 + j
    target[0] += vec_sum(s00)
    if i != j:
        target[1] += vec_sum(s01)
        target[2] += vec_sum(s02)
        target[3] += vec_sum(s03)
    target += i + 1
    target[0] += vec_sum(s10)
    target[1] += vec_sum(s11)
    if i != j:
        target[2] += vec_sum(s12)
        target[3] += vec_sum(s13)
    target += i + 2
    target[0] += vec_sum(s20)
    target[1] += vec_sum(s21)
    target[2] += vec_sum(s22)
    if i != j:
        target[3] += vec_sum(s23)
    target += i + 3
    target[0] += vec_sum(s30)
    target[1] += vec_sum(s31)
    target[2] += vec_sum(s32)
    target[3] += vec_sum(s33)


cdef inline void _outer_1x4(
    const real* a, const real* b, double* out, Py_ssize_t stride, Py_ssize_t n_panels,
) noexcept nogil:
    """out[0:4] += a b[0:4]T"""
    cdef vec s0 = vec_set(0), s1 = vec_set(0), s2 = vec_set(0), s3 = vec_set(0), c
    cdef Py_ssize_t p, v
    cdef const real* w
    for p in range(n_panels):
        for v in range(2):
            c = (<const vec*> (a + p * stride + v * LANES))[0]
            w = b + p * stride + v * LANES
            s0 = s0 + c * (<const vec*> w)[0]
            s1 = s1 + c * (<const vec*> (w + WIDTH))[0]
            s2 = s2 + c * (<const vec*> (w + 2 * WIDTH))[0]
            s3 = s3 + c * (<const vec*> (w + 3 * WIDTH))[0]
    out[0] += vec_sum(s0)
    out[1] += vec_sum(s1)
    out[2] += vec_sum(s2)
    out[3] += vec_sum(s3)


cdef inline double _outer_1x1(const real* a, const real* b, Py_ssize_t stride, Py_ssize_t n_panels) noexcept nogil:
    """sum over samples of a b"""
    cdef vec s0 = vec_set(0), s1 = vec_set(0)
    cdef Py_ssize_t p
    for p in range(n_panels):
        s0 = s0 + (<const vec*> (a + p * stride))[0] * (<const vec*> (b + p * stride))[0]
        s1 = s1 + (<const vec*> (a + p * stride))[1] * (<const vec*> (b + p * stride))[1]
    return vec_sum(s0 + s1)
