"""The factor of the inverse of a large symmetric matrix, in double, by products of blocks.

For one instruction set, the results are bit-identical for any number of threads.
"""
from libc.math cimport sqrt

from layout cimport DLANES, ROWS, dvec, dvec_set

# A matrix is computed by BLOCK rows (fewer if it is small), and their block on the diagonal by SMALL rows. STRIP
# columns of a factor, at most DEPTH rows at a time, are packed into the first-level cache.
cdef enum:
    BLOCK = 96
    SMALL = 16
    DEPTH = 256
    STRIP = 3 * DLANES


cdef inline bint factor_large(
    const double* C,        # IN  (D, D) symmetric
    double* U,              # OUT (D, D)
    double* scratch,        # TMP (D, D), which holds a block of rows and a strip if D > LARGE
    Py_ssize_t D,
) noexcept nogil:
    """U = R**-1 with C = RT R, R upper triangular, so that U UT = C**-1; return False if C is not positive definite"""
    # U takes the place of R, block by block. The residual of R U = 1 is small, so UT C U = 1 up to rounding too.
    cdef Py_ssize_t i, j, n, block = BLOCK if D >= 256 else 64
    cdef double* rows = scratch
    cdef double* strip = scratch + block * D
    for i in range(D):
        for j in range(D):
            U[i * D + j] = C[i * D + j] if j >= i else 0
    i = 0
    while i < D:
        n = min(D - i, block)
        subtract_above(U, rows, strip, i, n, D, D)
        if not factor_block(U + i * (D + 1), C + i * (D + 1), rows, strip, n, D):
            return False
        solve_right(U, rows, strip, i, n, D, D)
        i += block
    while i > 0:
        i -= block
        n = min(D - i, block)
        invert_right(U, rows, strip, i, n, D, D)
        invert_block(U + i * (D + 1), rows, strip, n, D)
    return True


# Let I be a block of rows of a matrix, a and z the rows above and below it, and j the columns right of it. From the
# first block to the last, RT R = A gives
#     B_I = A_I - (R_aI)T R_a,   (R_II)T R_II = B_II,   (R_II)T R_Ij = B_Ij,
# and from the last block to the first, R U = 1 gives
#     R_II U_Ij = -R_Iz U_zj.
# Each step is a product of blocks or a triangular system. The next functions do a step for the rows i to i + n of the
# matrix A of `size` rows, in place.

cdef inline void subtract_above(
    double* A, double* rows, double* strip, Py_ssize_t i, Py_ssize_t n, Py_ssize_t size, Py_ssize_t D,
) noexcept nogil:
    """A_I = B_I"""
    pack_rows(A + i, 1, D, rows, n, i)
    subtract_product(rows, A + i, A + i * (D + 1), strip, n, size - i, i, D, True)


cdef inline void solve_right(
    double* A, double* rows, double* strip, Py_ssize_t i, Py_ssize_t n, Py_ssize_t size, Py_ssize_t D,
) noexcept nogil:
    """A_Ij = R_Ij"""
    pack_rows(A + i * (D + 1), 1, D, rows, n, n)
    solve_rows(rows, A + i * (D + 1) + n, strip, n, size - i - n, D)


cdef inline void invert_right(
    double* A, double* rows, double* strip, Py_ssize_t i, Py_ssize_t n, Py_ssize_t size, Py_ssize_t D,
) noexcept nogil:
    """A_Ij = U_Ij"""
    cdef Py_ssize_t r, c, rest = size - i - n
    cdef double* right = A + i * (D + 1) + n
    pack_rows(right, D, 1, rows, n, rest)
    for r in range(n):
        for c in range(rest):
            right[r * D + c] = 0
    subtract_product(rows, right + n * D, right, strip, n, rest, rest, D, False)
    # The rows of the system are taken from the last to the first.
    pack_rows(A + (i + n - 1) * (D + 1), -D, -1, rows, n, n)
    solve_rows(rows, right + (n - 1) * D, strip, n, rest, -D)


cdef inline bint factor_block(
    double* A, const double* C, double* rows, double* strip, Py_ssize_t size, Py_ssize_t D,
) noexcept nogil:
    """A = R with A = RT R, in place; return False if A is not positive definite"""
    cdef Py_ssize_t i = 0, n
    while i < size:
        n = min(size - i, <Py_ssize_t> SMALL)
        subtract_above(A, rows, strip, i, n, size, D)
        if not factor_small(A + i * (D + 1), C + i * (D + 1), n, D):
            return False
        solve_right(A, rows, strip, i, n, size, D)
        i += SMALL
    return True


cdef inline void invert_block(double* A, double* rows, double* strip, Py_ssize_t size, Py_ssize_t D) noexcept nogil:
    """A = A**-1, in place, for an upper triangular A"""
    cdef Py_ssize_t i = (size + SMALL - 1) // SMALL * SMALL, n
    while i > 0:
        i -= SMALL
        n = min(size - i, <Py_ssize_t> SMALL)
        invert_right(A, rows, strip, i, n, size, D)
        invert_small(A + i * (D + 1), n, D)


cdef inline void pack_rows(
    const double* A, Py_ssize_t row_stride, Py_ssize_t stride, double* out, Py_ssize_t n_rows, Py_ssize_t depth,
) noexcept nogil:
    """out[g, d, r] = A[g ROWS + r, d], or 0 for a row that does not exist"""
    cdef Py_ssize_t g = 0, d, r
    while g < n_rows:
        for d in range(depth):
            for r in range(ROWS):
                out[r] = A[(g + r) * row_stride + d * stride] if g + r < n_rows else 0
            out += ROWS
        g += ROWS


cdef inline void subtract_product(
    const double* rows,     # IN  (n_rows / ROWS rounded up, depth, ROWS) the first factor A
    const double* B,        # IN  (depth, n_columns) the second factor
    double* C,              # INOUT (n_rows, n_columns)
    double* strip,          # TMP (DEPTH, STRIP)
    Py_ssize_t n_rows,
    Py_ssize_t n_columns,
    Py_ssize_t depth,
    Py_ssize_t D,           # from a row of B or C to the next
    bint symmetric,         # C is a part of a symmetric matrix, and begins on its diagonal; else B is upper triangular
) noexcept nogil:
    """C -= A B, where only the upper triangle of C is computed if it is symmetric"""
    cdef Py_ssize_t d = 0, j, g, n, width
    while d < depth:
        j = 0 if symmetric else d // STRIP * STRIP
        while j < n_columns:
            width = min(n_columns - j, <Py_ssize_t> STRIP)
            n = min((depth if symmetric else j + width) - d, <Py_ssize_t> DEPTH)
            pack_strip(B + d * D + j, strip, n, width, D)
            g = 0
            while g < n_rows and not (symmetric and g >= j + width):
                subtract_products(
                    rows + (g * depth + d * ROWS), strip, C + g * D + j, n, min(n_rows - g, <Py_ssize_t> ROWS), width,
                    D, g - j if symmetric else -D,
                )
                g += ROWS
            j += STRIP
        d += DEPTH


cdef inline void pack_strip(
    const double* B, double* strip, Py_ssize_t depth, Py_ssize_t width, Py_ssize_t D,
) noexcept nogil:
    """strip[d, c] = B[d, c], or 0 if c >= width"""
    cdef Py_ssize_t d, c
    for d in range(depth):
        if width == STRIP:
            for c in range(3):
                (<dvec*> strip)[c] = (<const dvec*> (B + d * D))[c]
        else:
            for c in range(STRIP):
                strip[c] = B[d * D + c] if c < width else 0
        strip += STRIP


cdef inline void subtract_products(
    const double* a, const double* strip, double* C, Py_ssize_t depth, Py_ssize_t n_rows, Py_ssize_t width,
    Py_ssize_t D, Py_ssize_t first,
) noexcept nogil:
    """Subtract the product of ROWS rows and a strip, in row r only from column first + r on"""
    cdef double sums[ROWS * STRIP]
    cdef Py_ssize_t r, c
    if width > 2 * DLANES:
        products(a, strip, sums, depth, 3)
    elif width > DLANES:
        products(a, strip, sums, depth, 2)
    else:
        products(a, strip, sums, depth, 1)
    for r in range(n_rows):
        if width == STRIP and first + r <= 0:
            for c in range(STRIP):
                C[r * D + c] -= sums[r * STRIP + c]
        else:
            for c in range(max(first + r, 0), width):
                C[r * D + c] -= sums[r * STRIP + c]


cdef inline void products(
    const double* a,        # IN  (depth, ROWS)
    const double* b,        # IN  (depth, STRIP)
    double* out,            # OUT (ROWS, STRIP)
    Py_ssize_t depth,
    Py_ssize_t n,           # number of vectors of a row of b that are used, known at compile time
) noexcept nogil:
    """out = aT b"""
    cdef dvec sums[ROWS * 3]
    cdef dvec z[3]
    cdef Py_ssize_t r, c
    for r in range(ROWS * 3):
        sums[r] = dvec_set(0)
    for _ in range(depth):
        for c in range(n):
            z[c] = (<const dvec*> b)[c]
        for r in range(ROWS):
            for c in range(n):
                sums[3 * r + c] = sums[3 * r + c] + a[r] * z[c]
        a += ROWS
        b += STRIP
    for r in range(ROWS):
        for c in range(n):
            (<dvec*> (out + r * STRIP))[c] = sums[3 * r + c]


cdef inline void solve_rows(
    const double* rows,     # IN  (n / ROWS rounded up, n, ROWS) a lower triangular matrix T, packed by pack_rows
    double* W,              # INOUT (n, n_columns)
    double* strip,          # TMP (BLOCK, STRIP)
    Py_ssize_t n,
    Py_ssize_t n_columns,
    Py_ssize_t D,           # from a row of W to the next
) noexcept nogil:
    """W = T**-1 W"""
    cdef double sums[ROWS * STRIP]
    cdef const double* t
    cdef double* y
    cdef double a
    cdef Py_ssize_t j = 0, g, r, s, c, width
    while j < n_columns:
        width = min(n_columns - j, <Py_ssize_t> STRIP)
        g = 0
        while g < n:
            t = rows + g * n
            products(t, strip, sums, g, 3)
            for r in range(min(n - g, <Py_ssize_t> ROWS)):
                y = strip + (g + r) * STRIP
                for c in range(STRIP):
                    y[c] = (W[(g + r) * D + j + c] if c < width else 0) - sums[r * STRIP + c]
                for s in range(r):
                    a = t[(g + s) * ROWS + r]
                    for c in range(STRIP):
                        y[c] -= a * strip[(g + s) * STRIP + c]
                a = 1 / t[(g + r) * ROWS + r]
                for c in range(STRIP):
                    y[c] *= a
                for c in range(width):
                    W[(g + r) * D + j + c] = y[c]
            g += ROWS
        j += STRIP


cdef inline bint factor_small(double* A, const double* C, Py_ssize_t n, Py_ssize_t D) noexcept nogil:
    """factor_block for SMALL rows; a pivot must be large beside the entry of C, as in `cholesky`"""
    cdef Py_ssize_t i, j, c
    cdef double a
    for i in range(n):
        if not A[i * D + i] > 2.3e-16 * C[i * D + i]:
            return False
        A[i * D + i] = sqrt(A[i * D + i])
        a = 1 / A[i * D + i]
        for c in range(i + 1, n):
            A[i * D + c] *= a
        for j in range(i + 1, n):
            a = A[i * D + j]
            for c in range(j, n):
                A[j * D + c] -= a * A[i * D + c]
    return True


cdef inline void invert_small(double* R, Py_ssize_t n, Py_ssize_t D) noexcept nogil:
    """invert_block for SMALL rows"""
    # Row i of the inverse is (e_i - sum over j > i of R_ij row j) / R_ii.
    cdef Py_ssize_t i, j, c
    cdef double a
    cdef double row[SMALL]
    for i in range(n - 1, -1, -1):
        for c in range(n):
            row[c] = 0
        for j in range(i + 1, n):
            a = R[i * D + j]
            for c in range(j, n):
                row[c] -= a * R[j * D + c]
        a = 1 / R[i * D + i]
        R[i * D + i] = a
        for c in range(i + 1, n):
            R[i * D + c] = a * row[c]
