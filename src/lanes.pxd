"""Small triangular matrices, of which each lane of a vector has its own.

The entries of a matrix are rows of WIDTH reals, one for each sample of a panel. A lower triangle has its entries by
rows. In a padded triangle, the rows are filled up to a multiple of four entries, so that four columns can be worked on
at once.
"""
from layout cimport real, vec, vec_set, WIDTH
from vmath cimport log_vector
from whiten cimport triangle

cdef extern from "vec.h" nogil:
    vec vec_max(vec a, vec b)
    vec vec_sqrt(vec a)
    vec vec_exponent(vec a)
    vec vec_mantissa(vec a)


cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    """Return the number of entries in the first n rows of a padded triangle, which is where row n begins"""
    cdef Py_ssize_t group = n // 4
    return 8 * group * (group + 1) + (n % 4) * 4 * (group + 1)


cdef inline void factor_lanes(
    real* a,                # INOUT (triangle(n), WIDTH) the matrices; then their Cholesky factors L, but the diagonal
    real* reciprocal,       # OUT   (n, WIDTH) reciprocals of the diagonal of L
    const real* least,      # IN    (n, WIDTH) or (n,): lower bounds of the squared diagonal of L, as rounding
                            #       may make it less
    bint least_of_lanes,    # whether each lane has bounds of its own
    real* log_det,          # OUT   (WIDTH,) log |L|**2
    Py_ssize_t n,
) noexcept nogil:
    """Factor the matrices in the lanes"""
    # The logarithms of many pivots cost as much as one: their mantissas are multiplied, and their exponents added.
    cdef vec* A = <vec*> a
    cdef vec* row
    cdef vec* other
    cdef vec* inverse = <vec*> reciprocal
    cdef vec s0, s1, a00, a01, a10, a11, a20, a21, a30, a31, l0, l1
    cdef vec product[2]
    cdef vec exponent[2]
    cdef Py_ssize_t i, j, p, o1, o2, o3
    product[0] = product[1] = vec_set(1)
    exponent[0] = exponent[1] = vec_set(0)
    for j in range(n):
        row = A + 2 * triangle(j)
        s0 = row[2 * j]
        s1 = row[2 * j + 1]
        for p in range(j):
            s0 = s0 - row[2 * p] * row[2 * p]
            s1 = s1 - row[2 * p + 1] * row[2 * p + 1]
        if least_of_lanes:
            s0 = vec_max(s0, (<const vec*> least)[2 * j])
            s1 = vec_max(s1, (<const vec*> least)[2 * j + 1])
        else:
            s0 = vec_max(s0, vec_set(least[j]))
            s1 = vec_max(s1, vec_set(least[j]))
        product[0] = product[0] * vec_mantissa(s0)
        product[1] = product[1] * vec_mantissa(s1)
        exponent[0] = exponent[0] + vec_exponent(s0)
        exponent[1] = exponent[1] + vec_exponent(s1)
        if j % 512 == 511:      # mantissas are below 2
            exponent[0] = exponent[0] + vec_exponent(product[0])
            exponent[1] = exponent[1] + vec_exponent(product[1])
            product[0] = vec_mantissa(product[0])
            product[1] = vec_mantissa(product[1])
        s0 = vec_set(1) / vec_sqrt(s0)
        s1 = vec_set(1) / vec_sqrt(s1)
        inverse[2 * j] = s0
        inverse[2 * j + 1] = s1
        i = j + 1
        while i + 4 <= n:
            other = A + 2 * triangle(i)
            o1 = 2 * (i + 1)
            o2 = o1 + 2 * (i + 2)
            o3 = o2 + 2 * (i + 3)
            a00 = other[2 * j]
            a01 = other[2 * j + 1]
            a10 = other[o1 + 2 * j]
            a11 = other[o1 + 2 * j + 1]
            a20 = other[o2 + 2 * j]
            a21 = other[o2 + 2 * j + 1]
            a30 = other[o3 + 2 * j]
            a31 = other[o3 + 2 * j + 1]
            for p in range(j):
                l0 = row[2 * p]
                l1 = row[2 * p + 1]
                a00 = a00 - other[2 * p] * l0
                a01 = a01 - other[2 * p + 1] * l1
                a10 = a10 - other[o1 + 2 * p] * l0
                a11 = a11 - other[o1 + 2 * p + 1] * l1
                a20 = a20 - other[o2 + 2 * p] * l0
                a21 = a21 - other[o2 + 2 * p + 1] * l1
                a30 = a30 - other[o3 + 2 * p] * l0
                a31 = a31 - other[o3 + 2 * p + 1] * l1
            other[2 * j] = a00 * s0
            other[2 * j + 1] = a01 * s1
            other[o1 + 2 * j] = a10 * s0
            other[o1 + 2 * j + 1] = a11 * s1
            other[o2 + 2 * j] = a20 * s0
            other[o2 + 2 * j + 1] = a21 * s1
            other[o3 + 2 * j] = a30 * s0
            other[o3 + 2 * j + 1] = a31 * s1
            i += 4
        while i < n:
            other = A + 2 * triangle(i)
            a00 = other[2 * j]
            a01 = other[2 * j + 1]
            for p in range(j):
                a00 = a00 - other[2 * p] * row[2 * p]
                a01 = a01 - other[2 * p + 1] * row[2 * p + 1]
            other[2 * j] = a00 * s0
            other[2 * j + 1] = a01 * s1
            i += 1
    for i in range(2):
        (<vec*> log_det)[i] = log_vector(product[i]) + exponent[i] * <real> 0.6931471805599453


cdef inline void solve_lanes(
    const real* a, const real* reciprocal, real* x, Py_ssize_t n,
) noexcept nogil:
    """Replace x (n, WIDTH) by L**-1 x, for the factors L of factor_lanes"""
    cdef const vec* row
    cdef vec* v = <vec*> x
    cdef vec s0, s1, t0, t1
    cdef Py_ssize_t i, p
    for i in range(n):
        row = <const vec*> a + 2 * triangle(i)
        s0 = v[2 * i]
        s1 = v[2 * i + 1]
        t0 = t1 = vec_set(0)
        for p in range(i // 2):     # two sums for each vector hide the latency of a multiply-add
            s0 = s0 - row[4 * p] * v[4 * p]
            s1 = s1 - row[4 * p + 1] * v[4 * p + 1]
            t0 = t0 + row[4 * p + 2] * v[4 * p + 2]
            t1 = t1 + row[4 * p + 3] * v[4 * p + 3]
        if i % 2:
            s0 = s0 - row[2 * i - 2] * v[2 * i - 2]
            s1 = s1 - row[2 * i - 1] * v[2 * i - 1]
        v[2 * i] = (s0 - t0) * (<const vec*> reciprocal)[2 * i]
        v[2 * i + 1] = (s1 - t1) * (<const vec*> reciprocal)[2 * i + 1]


cdef inline void solve_transposed_lanes(
    const real* a, const real* reciprocal, real* x, Py_ssize_t n,
) noexcept nogil:
    """Replace x (n, WIDTH) by L**-T x"""
    cdef const vec* row
    cdef vec* v = <vec*> x
    cdef vec s0, s1
    cdef Py_ssize_t i = n, p
    while i > 0:
        i -= 1
        row = <const vec*> a + 2 * triangle(i)
        s0 = v[2 * i] * (<const vec*> reciprocal)[2 * i]
        s1 = v[2 * i + 1] * (<const vec*> reciprocal)[2 * i + 1]
        v[2 * i] = s0
        v[2 * i + 1] = s1
        for p in range(i):
            v[2 * p] = v[2 * p] - row[2 * p] * s0
            v[2 * p + 1] = v[2 * p + 1] - row[2 * p + 1] * s1


cdef inline void solve_triangle_lanes(
    const real* a,              # IN  (triangle(n), WIDTH) factors L
    const real* reciprocal,     # IN  (n, WIDTH)
    const real* R,              # IN  (padded(n),) a lower triangle that all lanes share, or NULL for the unit matrix
    const real* keep,           # IN  (n, WIDTH) factors for the rows of R, or NULL for 1
    real* W,                    # OUT (padded(n), WIDTH)
    Py_ssize_t n,
) noexcept nogil:
    """W = L**-1 diag(keep) R, which is lower triangular"""
    # Row i of W is (row i of R - sum over p < i of L_ip row p of W) / L_ii.
    cdef const vec* row
    cdef const vec* source
    cdef vec* target
    cdef vec a00, a01, a10, a11, a20, a21, a30, a31, l0, l1
    cdef Py_ssize_t i, j, p, at
    for i in range(n):
        row = <const vec*> a + 2 * triangle(i)
        at = padded(i)
        target = <vec*> W + 2 * at
        j = 0
        while j <= i:
            if R == NULL:
                a00 = a01 = vec_set(<real> (i == j))
                a10 = a11 = vec_set(<real> (i == j + 1))
                a20 = a21 = vec_set(<real> (i == j + 2))
                a30 = a31 = vec_set(<real> (i == j + 3))
            else:
                a00 = a01 = vec_set(R[at + j])
                a10 = a11 = vec_set(R[at + j + 1])
                a20 = a21 = vec_set(R[at + j + 2])
                a30 = a31 = vec_set(R[at + j + 3])
                if keep != NULL:
                    l0 = (<const vec*> keep)[2 * i]
                    l1 = (<const vec*> keep)[2 * i + 1]
                    a00 = a00 * l0
                    a01 = a01 * l1
                    a10 = a10 * l0
                    a11 = a11 * l1
                    a20 = a20 * l0
                    a21 = a21 * l1
                    a30 = a30 * l0
                    a31 = a31 * l1
            for p in range(j, i):
                source = <const vec*> W + 2 * (padded(p) + j)
                l0 = row[2 * p]
                l1 = row[2 * p + 1]
                a00 = a00 - l0 * source[0]
                a01 = a01 - l1 * source[1]
                a10 = a10 - l0 * source[2]
                a11 = a11 - l1 * source[3]
                a20 = a20 - l0 * source[4]
                a21 = a21 - l1 * source[5]
                a30 = a30 - l0 * source[6]
                a31 = a31 - l1 * source[7]
            l0 = (<const vec*> reciprocal)[2 * i]
            l1 = (<const vec*> reciprocal)[2 * i + 1]
            target[2 * j] = a00 * l0
            target[2 * j + 1] = a01 * l1
            target[2 * j + 2] = a10 * l0
            target[2 * j + 3] = a11 * l1
            target[2 * j + 4] = a20 * l0
            target[2 * j + 5] = a21 * l1
            target[2 * j + 6] = a30 * l0
            target[2 * j + 7] = a31 * l1
            j += 4


cdef inline void multiply_transposed_lanes(
    const real* W,          # IN  (padded(n), WIDTH)
    const real* y,          # IN  (n, WIDTH)
    real* u,                # OUT (multiple of 4 at least n, WIDTH)
    Py_ssize_t n,
) noexcept nogil:
    """u = WT y"""
    cdef const vec* row
    cdef vec* out = <vec*> u
    cdef vec y0, y1
    cdef Py_ssize_t i, j
    for j in range(2 * ((n + 3) // 4 * 4)):
        out[j] = vec_set(0)
    for i in range(n):
        row = <const vec*> W + 2 * padded(i)
        y0 = (<const vec*> y)[2 * i]
        y1 = (<const vec*> y)[2 * i + 1]
        for j in range(i + 1):
            out[2 * j] = out[2 * j] + row[2 * j] * y0
            out[2 * j + 1] = out[2 * j + 1] + row[2 * j + 1] * y1
