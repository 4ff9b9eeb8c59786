"""The factor of the inverse of a large symmetric matrix, in double, by products of blocks.

For one instruction set, the results are bit-identical for any number of threads.
"""
from libc.math cimport sqrt

from layout cimport DLANES, ROWS, dvec, dvec_set

# A factor of BLOCK rows is packed once. STRIP columns of the other factor, at most DEPTH rows at a time, are packed into
# the first-level cache.
cdef enum:
    BLOCK = 64
    DEPTH = 128
    STRIP = 3 * DLANES


cdef inline bint factor_large(
    const double* C,        # IN  (D, D) symmetric
    double* U,              # OUT (D, D)
    double* scratch,        # TMP (BLOCK D + (BLOCK + DEPTH) STRIP,), which D * D is not less than if D > LARGE
    Py_ssize_t D,
) noexcept nogil:
    """U = R**-1 with C = RT R and R upper triangular, so that U UT = C**-1; return False if C is not positive definite"""
    # Let I be a block of rows, and a and z the rows above and below it. RT R = C gives R_II from its own block, and then
    #     R_II T R_Ij = C_Ij - (R_aI)T R_aj                      for the columns j right of it,
    # from the first block to the last. R U = 1 gives, from the last block to the first,
    #     R_II U_Ij = -R_Iz U_zj.
    # Either way one product of blocks is followed by a triangular system. U takes the place of R, block by block. The
    # residual of R U = 1 makes UT C U = 1 up to rounding.
    cdef Py_ssize_t i = 0, n, rest, d, j
    cdef double* rows = scratch
    cdef double* strip = scratch + BLOCK * D
    for d in range(D):
        for j in range(D):
            U[d * D + j] = C[d * D + j] if j >= d else 0
    while i < D:
        n = min(D - i, <Py_ssize_t> BLOCK)
        rest = D - i - n
        pack_rows(U + i, 1, D, rows, n, i)
        subtract_product(rows, U + i, U + i * D + i, strip, n, D - i, i, D, True)
        if not factor_block(U + i * D + i, C + i * D + i, n, D):
            return False
        pack_rows(U + i * D + i, 1, D, rows, n, n)
        solve_rows(rows, U + i * D + i + n, strip, n, rest, D)
        i += BLOCK
    while i > 0:
        i -= BLOCK
        n = min(D - i, <Py_ssize_t> BLOCK)
        rest = D - i - n
        pack_rows(U + i * D + i + n, D, 1, rows, n, rest)
        for d in range(i, i + n):
            for j in range(i + n, D):
                U[d * D + j] = 0
        subtract_product(rows, U + (i + n) * (D + 1), U + i * D + i + n, strip, n, rest, rest, D, False)
        # The rows of the system are taken from the last to the first.
        pack_rows(U + (i + n - 1) * (D + 1), -D, -1, rows, n, n)
        solve_rows(rows, U + (i + n - 1) * D + i + n, strip, n, rest, -D)
        invert_block(U + i * D + i, n, D)
    return True


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
        n = min(depth - d, <Py_ssize_t> DEPTH)
        j = 0 if symmetric else d // STRIP * STRIP
        while j < n_columns:
            width = min(n_columns - j, <Py_ssize_t> STRIP)
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
    products(a, strip, sums, depth)
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
) noexcept nogil:
    """out = aT b"""
    cdef dvec sums[ROWS * 3]
    cdef dvec z[3]
    cdef Py_ssize_t d, r, c
    for r in range(ROWS * 3):
        sums[r] = dvec_set(0)
    for d in range(depth):
        for c in range(3):
            z[c] = (<const dvec*> b)[c]
        for r in range(ROWS):
            for c in range(3):
                sums[3 * r + c] = sums[3 * r + c] + a[r] * z[c]
        a += ROWS
        b += STRIP
    for r in range(ROWS * 3):
        (<dvec*> out)[r] = sums[r]


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
            products(t, strip, sums, g)
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


cdef inline bint factor_block(double* A, const double* C, Py_ssize_t n, Py_ssize_t D) noexcept nogil:
    """A = R with A = RT R, in place; return False if a pivot is not large beside the entry of C, as in `cholesky`"""
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


cdef inline void invert_block(double* R, Py_ssize_t n, Py_ssize_t D) noexcept nogil:
    """R = R**-1, in place, for an upper triangular R"""
    # Row i of the inverse is (e_i - sum over j > i of R_ij row j) / R_ii.
    cdef Py_ssize_t i, j, c
    cdef double a
    cdef double row[BLOCK]
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
