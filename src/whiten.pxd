"""The triangular product y = L z, where L is the inverse Cholesky factor of a covariance.

The log-probabilities of 'full' and 'tied' take most of their time here.
"""
from layout cimport real, vec, vec_set, ROWS, WIDTH


cdef inline Py_ssize_t triangle(Py_ssize_t n) noexcept nogil:
    """Return the number of entries of a lower triangle of n rows"""
    return n * (n + 1) // 2


cdef inline void pack_triangle(
    const double* U,        # IN  (D, D) upper triangular, L = UT
    real* factor,           # OUT (D (D + 1) / 2,)
    Py_ssize_t D,
) noexcept nogil:
    """Write L in the order that `whiten` reads: groups of four rows, each column by column, then single rows"""
    cdef Py_ssize_t j = 0, d, row
    while j + 4 <= D:
        for d in range(j + 4):
            for row in range(j if j > d else d, j + 4):
                factor[0] = <real> U[d * D + row]
                factor += 1
        j += 4
    for row in range(j, D):
        for d in range(row + 1):
            factor[0] = <real> U[d * D + row]
            factor += 1


cdef inline void whiten(
    const real* z,          # IN  (D, WIDTH)
    const real* factor,     # IN  packed by pack_triangle
    real* y,                # OUT (D, WIDTH), or NULL
    real* distance,         # OUT (WIDTH,) sum of squares of y
    Py_ssize_t D,
) noexcept nogil:
    """y = L z, distance = |y|**2, with D (D + 1) / 2 multiply-adds for each sample"""
    # Four rows of L and two vectors of samples make eight independent sums. They hide the latency of a multiply-add,
    # and eight multiply-adds need six loads. The last four columns of a group of four rows are a triangle on the
    # diagonal. It is written out, so that nothing is multiplied by a zero.
    cdef vec q0 = vec_set(0), q1 = vec_set(0)
    cdef vec a00, a01, a10, a11, a20, a21, a30, a31, z0, z1
    cdef const vec* source
    cdef vec* target = <vec*> y
    cdef Py_ssize_t j = 0, d, row
    while j + 4 <= D:
        a00 = a01 = a10 = a11 = a20 = a21 = a30 = a31 = vec_set(0)
        source = <const vec*> z
        for _ in range(j):
            z0 = source[0]
            z1 = source[1]
            a00 = a00 + factor[0] * z0
            a01 = a01 + factor[0] * z1
            a10 = a10 + factor[1] * z0
            a11 = a11 + factor[1] * z1
            a20 = a20 + factor[2] * z0
            a21 = a21 + factor[2] * z1
            a30 = a30 + factor[3] * z0
            a31 = a31 + factor[3] * z1
            factor += 4
            source += 2
        z0 = source[0]
        z1 = source[1]
        a00 = a00 + factor[0] * z0
        a01 = a01 + factor[0] * z1
        a10 = a10 + factor[1] * z0
        a11 = a11 + factor[1] * z1
        a20 = a20 + factor[2] * z0
        a21 = a21 + factor[2] * z1
        a30 = a30 + factor[3] * z0
        a31 = a31 + factor[3] * z1
        z0 = source[2]
        z1 = source[3]
        a10 = a10 + factor[4] * z0
        a11 = a11 + factor[4] * z1
        a20 = a20 + factor[5] * z0
        a21 = a21 + factor[5] * z1
        a30 = a30 + factor[6] * z0
        a31 = a31 + factor[6] * z1
        z0 = source[4]
        z1 = source[5]
        a20 = a20 + factor[7] * z0
        a21 = a21 + factor[7] * z1
        a30 = a30 + factor[8] * z0
        a31 = a31 + factor[8] * z1
        a30 = a30 + factor[9] * source[6]
        a31 = a31 + factor[9] * source[7]
        factor += 10
        q0 = q0 + a00 * a00 + a10 * a10 + a20 * a20 + a30 * a30
        q1 = q1 + a01 * a01 + a11 * a11 + a21 * a21 + a31 * a31
        if target != NULL:
            target[0] = a00
            target[1] = a01
            target[2] = a10
            target[3] = a11
            target[4] = a20
            target[5] = a21
            target[6] = a30
            target[7] = a31
            target += 8
        j += 4
    for row in range(j, D):
        a00 = a01 = vec_set(0)
        source = <const vec*> z
        for d in range(row + 1):
            a00 = a00 + factor[d] * source[0]
            a01 = a01 + factor[d] * source[1]
            source += 2
        factor += row + 1
        q0 = q0 + a00 * a00
        q1 = q1 + a01 * a01
        if target != NULL:
            target[0] = a00
            target[1] = a01
            target += 2
    (<vec*> distance)[0] = q0
    (<vec*> distance)[1] = q1


# The blocks of whiten_large. COLUMN_BLOCK is a multiple of ROW_BLOCK, and that of eight.
cdef enum:
    ROW_BLOCK = 64
    COLUMN_BLOCK = 128


cdef inline void whiten_large(
    const real* z,          # IN  (n_panels, D, WIDTH)
    const real* factor,     # IN  packed by pack_triangle
    real* y,                # OUT (n_panels, D, WIDTH), or TMP (n_panels, ROW_BLOCK, WIDTH) if not keep_y
    real* distance,         # OUT one row of WIDTH in each panel, sum of squares of y
    Py_ssize_t stride,      # of distance, from a panel to the next
    Py_ssize_t D,
    Py_ssize_t n_panels,
    bint keep_y,
) noexcept nogil:
    """whiten for all panels of a tile, in blocks for D > LARGE; the result is the same to the last bit"""
    # A block of L stays in the second-level cache while all panels are multiplied by it, and the features of a panel
    # that it needs stay in the first-level cache. So L is read from memory once for a tile, and z once for ROW_BLOCK
    # rows of L. The sums of a row are stored in y after each block and continued in the next one, in the order of
    # `whiten`.
    cdef Py_ssize_t row = 0, stop, column, j, p, y_rows = D if keep_y else ROW_BLOCK
    cdef real* target
    for p in range(n_panels):
        (<vec*> (distance + p * stride))[0] = vec_set(0)
        (<vec*> (distance + p * stride))[1] = vec_set(0)
    while row + 4 <= D:
        stop = min(row + ROW_BLOCK, D // 4 * 4)
        column = 0
        while column < stop:
            for p in range(n_panels):
                j = row
                target = y + (p * y_rows + (j if keep_y else 0)) * WIDTH
                while ROWS == 8 and j + 8 <= stop:
                    whiten_eight(z + p * D * WIDTH, factor, target, distance + p * stride, j, column)
                    target += 8 * WIDTH
                    j += 8
                while j < stop:
                    whiten_four(z + p * D * WIDTH, factor, target, distance + p * stride, j, column)
                    target += 4 * WIDTH
                    j += 4
            column += COLUMN_BLOCK
        row += ROW_BLOCK
    for p in range(n_panels):
        for row in range(D // 4 * 4, D):
            target = y + (p * y_rows + (row if keep_y else 0)) * WIDTH
            whiten_one(z + p * D * WIDTH, factor + triangle(row), target, distance + p * stride, row)


cdef inline void whiten_eight(
    const real* z, const real* factor, real* y, real* distance, Py_ssize_t j, Py_ssize_t column,
) noexcept nogil:
    """whiten_four for rows j to j + 8"""
    cdef vec sums[16]
    cdef vec* target = <vec*> y
    cdef const vec* source = <const vec*> z + 2 * column
    cdef const real* upper = factor + triangle(j) + 4 * column
    cdef const real* lower = factor + triangle(j + 4) + 4 * column
    cdef Py_ssize_t r
    for r in range(16):
        sums[r] = vec_set(0)
    if column > 0:
        for r in range(16):
            sums[r] = target[r]
    for _ in range(min(<Py_ssize_t> COLUMN_BLOCK, j - column)):
        for r in range(4):
            sums[2 * r] = sums[2 * r] + upper[r] * source[0]
            sums[2 * r + 1] = sums[2 * r + 1] + upper[r] * source[1]
            sums[8 + 2 * r] = sums[8 + 2 * r] + lower[r] * source[0]
            sums[9 + 2 * r] = sums[9 + 2 * r] + lower[r] * source[1]
        upper += 4
        lower += 4
        source += 2
    for r in range(16):
        target[r] = sums[r]
    if j < column + COLUMN_BLOCK:
        whiten_four(z, factor, y, distance, j, j)
        whiten_four(z, factor, y + 4 * WIDTH, distance, j + 4, j)


cdef inline void whiten_four(
    const real* z, const real* factor, real* y, real* distance, Py_ssize_t j, Py_ssize_t column,
) noexcept nogil:
    """Add COLUMN_BLOCK columns from `column` of rows j to j + 4; after the last column, add the squares to distance"""
    cdef vec a00, a01, a10, a11, a20, a21, a30, a31, z0, z1, q0, q1
    cdef vec* target = <vec*> y
    cdef const vec* source = <const vec*> z + 2 * column
    cdef Py_ssize_t n = min(<Py_ssize_t> COLUMN_BLOCK, j - column)
    factor += triangle(j) + 4 * column
    a00 = a01 = a10 = a11 = a20 = a21 = a30 = a31 = vec_set(0)
    if column > 0:
        a00, a01, a10, a11 = target[0], target[1], target[2], target[3]
        a20, a21, a30, a31 = target[4], target[5], target[6], target[7]
    for _ in range(n):
        z0 = source[0]
        z1 = source[1]
        a00 = a00 + factor[0] * z0
        a01 = a01 + factor[0] * z1
        a10 = a10 + factor[1] * z0
        a11 = a11 + factor[1] * z1
        a20 = a20 + factor[2] * z0
        a21 = a21 + factor[2] * z1
        a30 = a30 + factor[3] * z0
        a31 = a31 + factor[3] * z1
        factor += 4
        source += 2
    if n < COLUMN_BLOCK:
        z0 = source[0]
        z1 = source[1]
        a00 = a00 + factor[0] * z0
        a01 = a01 + factor[0] * z1
        a10 = a10 + factor[1] * z0
        a11 = a11 + factor[1] * z1
        a20 = a20 + factor[2] * z0
        a21 = a21 + factor[2] * z1
        a30 = a30 + factor[3] * z0
        a31 = a31 + factor[3] * z1
        z0 = source[2]
        z1 = source[3]
        a10 = a10 + factor[4] * z0
        a11 = a11 + factor[4] * z1
        a20 = a20 + factor[5] * z0
        a21 = a21 + factor[5] * z1
        a30 = a30 + factor[6] * z0
        a31 = a31 + factor[6] * z1
        z0 = source[4]
        z1 = source[5]
        a20 = a20 + factor[7] * z0
        a21 = a21 + factor[7] * z1
        a30 = a30 + factor[8] * z0
        a31 = a31 + factor[8] * z1
        a30 = a30 + factor[9] * source[6]
        a31 = a31 + factor[9] * source[7]
        q0 = (<vec*> distance)[0]
        q1 = (<vec*> distance)[1]
        (<vec*> distance)[0] = q0 + a00 * a00 + a10 * a10 + a20 * a20 + a30 * a30
        (<vec*> distance)[1] = q1 + a01 * a01 + a11 * a11 + a21 * a21 + a31 * a31
    target[0] = a00
    target[1] = a01
    target[2] = a10
    target[3] = a11
    target[4] = a20
    target[5] = a21
    target[6] = a30
    target[7] = a31


cdef inline void whiten_one(
    const real* z, const real* factor, real* y, real* distance, Py_ssize_t row,
) noexcept nogil:
    """Compute y of a single row, and add its square to distance"""
    cdef vec a0 = vec_set(0), a1 = vec_set(0)
    cdef Py_ssize_t d
    for d in range(row + 1):
        a0 = a0 + factor[d] * (<const vec*> z)[2 * d]
        a1 = a1 + factor[d] * (<const vec*> z)[2 * d + 1]
    (<vec*> y)[0] = a0
    (<vec*> y)[1] = a1
    (<vec*> distance)[0] = (<vec*> distance)[0] + a0 * a0
    (<vec*> distance)[1] = (<vec*> distance)[1] + a1 * a1
