"""Weighted first and second moments of the samples of a tile.

The lanes of a vector hold different samples. Accumulating statistics takes most of its time here.
"""
from layout cimport (
    LARGE, Active, Tile, prefetch, real, vec, vec_any_less, vec_set, vec_sum, vec_sums, vec_transpose, LANES, ROWS,
    WIDTH,
)
from panel cimport difference, sum_rows, sum_some_rows


cdef inline Py_ssize_t row_of(const unsigned int* slots, Py_ssize_t i) noexcept nogil:
    """Return the i-th slot, or i without slots"""
    return i if slots == NULL else <Py_ssize_t> slots[i]


cdef inline void weighted_moments(
    const real* x,          # IN  (n_panels, D, WIDTH)
    const real* weight,     # IN  (n_panels, K, WIDTH), or (n_slots, WIDTH) with `active`
    const real* hi,         # IN  (K, D)
    const real* lo,         # IN  (K, D)
    double* first,          # INOUT (K, D) added to, as second is
    double* second,         # INOUT (K, D), or NULL
    Py_ssize_t K,
    Py_ssize_t D,
    Py_ssize_t n_panels,
    const Active* active,   # IN  the pairs that count, or NULL for all
) noexcept nogil:
    """first[k] += sum of weight[k] z, second[k] += sum of weight[k] z**2, with z = x - (hi[k] + lo[k])"""
    # The loop over features is the outer one, so that four features of a tile stay in the first-level cache.
    cdef Py_ssize_t d = 0, k, at
    cdef const unsigned short* panels = NULL
    cdef const unsigned int* slots = NULL
    while d < D:
        for k in range(K):
            if active != NULL:
                n_panels = active.n_of_component[k]
                if n_panels == 0:
                    continue
                panels = active.panels + k * active.n_panels
                slots = active.slots + k * active.n_panels
            at = k * D + d
            if d + 4 <= D:
                _moments_4(
                    x + d * WIDTH, D * WIDTH, weight if active != NULL else weight + k * WIDTH,
                    WIDTH if active != NULL else K * WIDTH, hi + at, lo + at, first + at,
                    NULL if second == NULL else second + at, n_panels,
                    <const unsigned short*> NULL if active == NULL else panels,
                    <const unsigned int*> NULL if active == NULL else slots,
                )
            else:
                _moments_1(
                    x + d * WIDTH, D * WIDTH, weight if active != NULL else weight + k * WIDTH,
                    WIDTH if active != NULL else K * WIDTH, hi[at], lo[at], first + at,
                    NULL if second == NULL else second + at, n_panels,
                    <const unsigned short*> NULL if active == NULL else panels,
                    <const unsigned int*> NULL if active == NULL else slots,
                )
        d += 4 if d + 4 <= D else 1


cdef inline void _moments_4(
    const real* x, Py_ssize_t x_stride, const real* weight, Py_ssize_t stride, const real* hi, const real* lo,
    double* first, double* second, Py_ssize_t n_panels,
    const unsigned short* panels, const unsigned int* slots,
) noexcept nogil:
    """weighted_moments for four features, which share each load of the weight; z stays in registers"""
    cdef vec f0 = vec_set(0), f1 = vec_set(0), f2 = vec_set(0), f3 = vec_set(0)
    cdef vec s0 = vec_set(0), s1 = vec_set(0), s2 = vec_set(0), s3 = vec_set(0)
    cdef vec w, z, wz
    cdef Py_ssize_t i, p, v
    cdef const real* u
    for i in range(n_panels):
        p = i if panels == NULL else <Py_ssize_t> panels[i]
        for v in range(2):
            u = x + p * x_stride + v * LANES
            w = (<const vec*> (weight + row_of(slots, i) * stride + v * LANES))[0]
            z = difference(u, hi[0], lo[0])
            wz = w * z
            f0 = f0 + wz
            s0 = s0 + wz * z
            z = difference(u + WIDTH, hi[1], lo[1])
            wz = w * z
            f1 = f1 + wz
            s1 = s1 + wz * z
            z = difference(u + 2 * WIDTH, hi[2], lo[2])
            wz = w * z
            f2 = f2 + wz
            s2 = s2 + wz * z
            z = difference(u + 3 * WIDTH, hi[3], lo[3])
            wz = w * z
            f3 = f3 + wz
            s3 = s3 + wz * z
    vec_sums(f0, f1, f2, f3, first)
    if second != NULL:
        vec_sums(s0, s1, s2, s3, second)


cdef inline void _moments_1(
    const real* x, Py_ssize_t x_stride, const real* weight, Py_ssize_t stride, real hi, real lo,
    double* first, double* second, Py_ssize_t n_panels,
    const unsigned short* panels, const unsigned int* slots,
) noexcept nogil:
    """weighted_moments for one feature"""
    cdef vec f0 = vec_set(0), f1 = vec_set(0), s0 = vec_set(0), s1 = vec_set(0), z, wz
    cdef Py_ssize_t i, p
    for i in range(n_panels):
        p = i if panels == NULL else <Py_ssize_t> panels[i]
        z = difference(x + p * x_stride, hi, lo)
        wz = (<const vec*> (weight + row_of(slots, i) * stride))[0] * z
        f0 = f0 + wz
        s0 = s0 + wz * z
        z = difference(x + p * x_stride + LANES, hi, lo)
        wz = (<const vec*> (weight + row_of(slots, i) * stride))[1] * z
        f1 = f1 + wz
        s1 = s1 + wz * z
    first[0] += vec_sum(f0 + f1)
    if second != NULL:
        second[0] += vec_sum(s0 + s1)


# Up to this many features, weight z is computed again for each 4 x 4 block of the scatter matrix. With more
# features it is cheaper to store it once, although storing a vector costs as much as two multiply-adds.
cdef enum:
    UNSTORED = 32


# The blocks of scatter_large
cdef enum:
    COLUMNS = 240
    STRIP = 3 * LANES


cdef inline void scatter(
    const real* x,          # IN  (n_panels, D, WIDTH)
    const real* weight,     # IN  one row of WIDTH in each panel
    Py_ssize_t stride,      # of weight, from a panel to the next
    const real* hi,         # IN  (D,)
    const real* lo,         # IN  (D,)
    real* wz,               # TMP (n_panels, D, WIDTH)
    double* first,          # INOUT (D,) added to, as second is
    double* second,         # INOUT (D (D + 1) / 2,) lower triangle by rows
    Py_ssize_t D,
    Py_ssize_t n_panels,
    const unsigned short* panels,   # IN (n_panels,) the panels that count, or NULL for all
    const unsigned int* slots,      # IN (n_panels,) the rows of weight that belong to them, or NULL
) noexcept nogil:
    """first += sum of weight z, second += sum of weight z zT, with z = x - (hi + lo)"""
    cdef Py_ssize_t i = 0
    if D > LARGE and panels == NULL:
        scatter_large(x, weight, stride, hi, lo, wz, first, second, D, n_panels)
        return
    if D > UNSTORED:
        weigh_differences(x, weight, stride, hi, lo, wz, D, n_panels, panels, slots)
    while i + 4 <= D:
        _triangle(x, weight, stride, hi, lo, first, second, i, 4, D, n_panels, panels, slots)
        if D > UNSTORED:
            _rectangles(x, weight, stride, hi, lo, wz, second, i, 4, D, n_panels, panels, slots)
        else:
            _rectangles(x, weight, stride, hi, lo, NULL, second, i, 4, D, n_panels, panels, slots)
        i += 4
    # One to three rows are left. Each of these numbers has a copy of the loops, in which it is known at compile time.
    if D - i == 1:
        _triangle(x, weight, stride, hi, lo, first, second, i, 1, D, n_panels, panels, slots)
        _rectangles(x, weight, stride, hi, lo, NULL, second, i, 1, D, n_panels, panels, slots)
    elif D - i == 2:
        _triangle(x, weight, stride, hi, lo, first, second, i, 2, D, n_panels, panels, slots)
        _rectangles(x, weight, stride, hi, lo, NULL, second, i, 2, D, n_panels, panels, slots)
    elif D - i == 3:
        _triangle(x, weight, stride, hi, lo, first, second, i, 3, D, n_panels, panels, slots)
        _rectangles(x, weight, stride, hi, lo, NULL, second, i, 3, D, n_panels, panels, slots)


# The most panels of a tile that `scatter_components` lists, and the fewest features for which it does.
cdef enum:
    MOST_PANELS = 128
    SEARCHED = 16


cdef inline void scatter_components(
    const Tile* t,
    const real* shift_hi,   # IN  (K, D)
    const real* shift_lo,   # IN  (K, D)
    double* counts,         # INOUT (K,) added to, as first and second are
    double* first,          # INOUT (K, D)
    double* second,         # INOUT lower triangles by rows
    Py_ssize_t size,        # of a triangle, or 0 if all components share one
    Py_ssize_t K,
    Py_ssize_t D,
    const Active* a,        # IN  the pairs that count, or NULL for all
) noexcept nogil:
    """S_k += sum of w r_k (x - c_k)(x - c_k)T, with the counts and the first moments"""
    # With all pairs, a panel in which no sample belongs to a component is left out, as under the labels of k-means. It
    # would add 0. Looking for such panels takes as long as two of the D products of a sample.
    cdef Py_ssize_t k, n
    cdef const unsigned short* panels = NULL
    cdef const unsigned int* slots = NULL
    cdef unsigned short own_panels[MOST_PANELS]
    cdef unsigned int own_slots[MOST_PANELS]
    cdef double count
    for k in range(K):
        n = t.n_panels
        if a == NULL:
            count = sum_rows(t.r + k * WIDTH, K * WIDTH, n)
            panels = NULL
            if SEARCHED <= D <= LARGE and n <= MOST_PANELS:
                n = panels_of_component(t, k, K, own_panels, own_slots)
                panels, slots = own_panels, own_slots
        else:
            n = a.n_of_component[k]
            panels = a.panels + k * a.n_panels
            slots = a.slots + k * a.n_panels
            count = sum_some_rows(t.r, slots, n) if n else 0
        if count == 0:
            continue
        counts[k] += count
        scatter(
            t.x, t.r + k * WIDTH if panels == NULL else t.r, K * WIDTH if panels == NULL else WIDTH,
            shift_hi + k * D, shift_lo + k * D, t.wz, first + k * D, second + k * size, D, n,
            panels, <const unsigned int*> NULL if panels == NULL else slots,
        )


cdef inline Py_ssize_t panels_of_component(
    const Tile* t, Py_ssize_t k, Py_ssize_t K, unsigned short* panels, unsigned int* slots,
) noexcept nogil:
    """List the panels in which a sample belongs to component k, with their rows of t.r; return how many these are"""
    cdef Py_ssize_t p, n = 0
    cdef const vec* r
    for p in range(t.n_panels):
        r = <const vec*> (t.r + (p * K + k) * WIDTH)
        panels[n] = <unsigned short> p
        slots[n] = <unsigned int> (p * K + k)
        n += vec_any_less(vec_set(0), r[0] + r[1])
    return n


cdef inline void scatter_large(
    const real* x, const real* weight, Py_ssize_t stride, const real* hi, const real* lo, real* scratch,
    double* first, double* second, Py_ssize_t D, Py_ssize_t n_panels,
) noexcept nogil:
    """scatter for D > LARGE, as a product of matrices"""
    # The lanes of a vector hold different features here, so that no sum over lanes is needed. A block of z with at most
    # COLUMNS features is transposed into the second-level cache, in strips of three vectors. Then ROWS features of
    # weight z at a time, which stay in the first-level cache, are multiplied by all strips. ROWS x 3 vectors of sums
    # stay in registers over 256 samples, or 128 in float32, where sums have fewer digits. They are added in double.
    cdef Py_ssize_t depth = (256 if sizeof(real) == 8 else 128) // WIDTH
    cdef Py_ssize_t columns = min(<Py_ssize_t> COLUMNS, D - ROWS) // STRIP * STRIP, p = 0, i, j, c, n, n_rows
    cdef real* a
    cdef real* strip
    while p < n_panels:
        n = min(depth, n_panels - p)
        a = scratch + columns * n * WIDTH
        j = 0
        while j < D:
            c = j
            while c < min(j + columns, D):
                transpose_differences(
                    x + (p * D + c) * WIDTH, hi + c, lo + c, scratch + (c - j) * n * WIDTH,
                    min(D - c, <Py_ssize_t> STRIP), D, n,
                )
                c += STRIP
            i = j
            while i < D:
                n_rows = min(D - i, <Py_ssize_t> ROWS)
                weigh_rows(
                    x + (p * D + i) * WIDTH, weight + p * stride, stride, hi + i, lo + i, a,
                    first + i if j == 0 and first != NULL else NULL, n_rows, D, n,
                )
                c = j
                while c < min(j + columns, i + n_rows):
                    strip = scratch + (c - j) * n * WIDTH
                    if c + 2 * LANES < i + n_rows:
                        _add_products(a, strip, second, i, c, n_rows, n, 3)
                    elif c + LANES < i + n_rows:
                        _add_products(a, strip, second, i, c, n_rows, n, 2)
                    else:
                        _add_products(a, strip, second, i, c, n_rows, n, 1)
                    c += STRIP
                i += ROWS
            j += columns
        p += depth

cdef inline void transpose_differences(
    const real* x, const real* hi, const real* lo, real* strip, Py_ssize_t n_features, Py_ssize_t D,
    Py_ssize_t n_panels,
) noexcept nogil:
    """strip[n, d] = x - (hi + lo) of sample n and feature d, or 0 if d >= n_features; strip has the shape (n, STRIP)"""
    cdef vec z[LANES]
    cdef Py_ssize_t p, v, g, d, c
    for p in range(n_panels):
        for v in range(2):
            for g in range(3):
                d = g * LANES
                for c in range(LANES):
                    if d + c < n_features:
                        z[c] = difference(x + (p * D + d + c) * WIDTH + v * LANES, hi[d + c], lo[d + c])
                    else:
                        z[c] = vec_set(0)
                vec_transpose(<const real*> z, LANES, strip + (p * WIDTH + v * LANES) * STRIP + d, STRIP)


cdef inline void weigh_rows(
    const real* x, const real* weight, Py_ssize_t stride, const real* hi, const real* lo, real* out, double* first,
    Py_ssize_t n_features, Py_ssize_t D, Py_ssize_t n_panels,
) noexcept nogil:
    """out = weight (x - (hi + lo)) of the shape (n_panels, ROWS, WIDTH), 0 for the features that do not exist; first +=
    the sum of out over samples, unless first is NULL"""
    cdef vec s0, s1
    cdef vec* target
    cdef const vec* w
    cdef Py_ssize_t p, d
    for d in range(ROWS):
        s0 = s1 = vec_set(0)
        for p in range(n_panels):
            target = <vec*> (out + (p * ROWS + d) * WIDTH)
            w = <const vec*> (weight + p * stride)
            target[0] = target[1] = vec_set(0)
            if d < n_features:
                target[0] = w[0] * difference(x + (p * D + d) * WIDTH, hi[d], lo[d])
                target[1] = w[1] * difference(x + (p * D + d) * WIDTH + LANES, hi[d], lo[d])
            s0 = s0 + target[0]
            s1 = s1 + target[1]
        if first != NULL and d < n_features:
            first[d] += vec_sum(s0 + s1)


cdef inline void _add_products(
    const real* a, const real* strip, double* second, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n_rows,
    Py_ssize_t n_panels, Py_ssize_t n,
) noexcept nogil:
    """Add sum of a z to the rows from i and the n vectors of columns from j; n is known at compile time"""
    cdef real sums[ROWS * STRIP]
    cdef Py_ssize_t r, c
    cdef double* target
    for r in range(n_rows):
        prefetch(second + (i + r) * (i + r + 1) // 2 + j, min(i + r + 1 - j, n * LANES))
    products_of_samples(a, strip, sums, n_panels, n)
    for r in range(n_rows):
        target = second + (i + r) * (i + r + 1) // 2 + j
        if i + r + 1 - j >= n * LANES:
            for c in range(n * LANES):
                target[c] += sums[r * STRIP + c]
        else:
            for c in range(i + r + 1 - j):
                target[c] += sums[r * STRIP + c]


cdef inline void products_of_samples(
    const real* a,          # IN  (n_panels, ROWS, WIDTH)
    const real* b,          # IN  (n_panels WIDTH, STRIP)
    real* out,              # OUT (ROWS, STRIP)
    Py_ssize_t n_panels,
    Py_ssize_t n,           # number of vectors in a row of b that are used, known at compile time
) noexcept nogil:
    """out[r, c] = sum over samples of a[r] b[c]"""
    cdef vec sums[ROWS * 3]
    cdef vec z[3]
    cdef Py_ssize_t i, r, c
    for r in range(ROWS * 3):
        sums[r] = vec_set(0)
    for _ in range(n_panels):
        for i in range(WIDTH):
            for c in range(n):
                z[c] = (<const vec*> b)[c]
            for r in range(ROWS):
                for c in range(n):
                    sums[3 * r + c] = sums[3 * r + c] + a[r * WIDTH + i] * z[c]
            b += STRIP
        a += ROWS * WIDTH
    for r in range(ROWS):
        for c in range(n):
            (<vec*> (out + r * STRIP))[c] = sums[3 * r + c]


cdef inline void weigh_differences(
    const real* x, const real* weight, Py_ssize_t stride, const real* hi, const real* lo, real* wz,
    Py_ssize_t D, Py_ssize_t n_panels,
    const unsigned short* panels, const unsigned int* slots,
) noexcept nogil:
    """wz = weight (x - (hi + lo))"""
    cdef Py_ssize_t i, p, d
    cdef vec w0, w1
    cdef vec* out
    cdef const real* row
    for i in range(n_panels):
        p = i if panels == NULL else <Py_ssize_t> panels[i]
        row = x + p * D * WIDTH
        out = <vec*> (wz + p * D * WIDTH)
        w0 = (<const vec*> (weight + row_of(slots, i) * stride))[0]
        w1 = (<const vec*> (weight + row_of(slots, i) * stride))[1]
        for d in range(D):
            out[0] = w0 * difference(row, hi[d], lo[d])
            out[1] = w1 * difference(row + LANES, hi[d], lo[d])
            out += 2
            row += WIDTH


cdef inline void _triangle(
    const real* x, const real* weight, Py_ssize_t stride, const real* hi, const real* lo,
    double* first, double* second, Py_ssize_t i, Py_ssize_t n, Py_ssize_t D, Py_ssize_t n_panels,
    const unsigned short* panels, const unsigned int* slots,
) noexcept nogil:
    """first and second for features i to i + n, the block on the diagonal; n <= 4 is known at compile time"""
    cdef vec sums[14]
    cdef vec z[4]
    cdef vec w, wz
    cdef Py_ssize_t q, p, v, a, b, at
    for a in range(14):
        sums[a] = vec_set(0)
    for q in range(n_panels):
        p = q if panels == NULL else <Py_ssize_t> panels[q]
        for v in range(2):
            w = (<const vec*> (weight + row_of(slots, q) * stride))[v]
            at = 4
            for a in range(n):
                z[a] = difference(x + (p * D + i + a) * WIDTH + v * LANES, hi[i + a], lo[i + a])
                wz = w * z[a]
                sums[a] = sums[a] + wz
                for b in range(a + 1):
                    sums[at] = sums[at] + wz * z[b]
                    at += 1
    at = 4
    for a in range(n):
        first[i + a] += vec_sum(sums[a])
        for b in range(a + 1):
            second[(i + a) * (i + a + 1) // 2 + i + b] += vec_sum(sums[at])
            at += 1


cdef inline void _rectangles(
    const real* x, const real* weight, Py_ssize_t stride, const real* hi, const real* lo, const real* stored,
    double* second, Py_ssize_t i, Py_ssize_t n, Py_ssize_t D, Py_ssize_t n_panels,
    const unsigned short* panels, const unsigned int* slots,
) noexcept nogil:
    """second for rows i to i + n left of the diagonal; n <= 4 is known at compile time; stored is weight z or NULL"""
    cdef vec sums[16]
    cdef vec wz[4]
    cdef vec w, z
    cdef Py_ssize_t q, p, v, a, b, j = 0, at
    while j < i:
        for a in range(4 * n):
            sums[a] = vec_set(0)
        for q in range(n_panels):
            p = q if panels == NULL else <Py_ssize_t> panels[q]
            for v in range(2):
                at = (p * D + i) * WIDTH + v * LANES
                w = (<const vec*> (weight + row_of(slots, q) * stride))[v]
                for a in range(n):
                    if stored != NULL:
                        wz[a] = (<const vec*> (stored + at + a * WIDTH))[0]
                    else:
                        wz[a] = w * difference(x + at + a * WIDTH, hi[i + a], lo[i + a])
                at = (p * D + j) * WIDTH + v * LANES
                for b in range(4):
                    z = difference(x + at + b * WIDTH, hi[j + b], lo[j + b])
                    for a in range(n):
                        sums[4 * a + b] = sums[4 * a + b] + wz[a] * z
        for a in range(n):
            vec_sums(
                sums[4 * a], sums[4 * a + 1], sums[4 * a + 2], sums[4 * a + 3],
                second + (i + a) * (i + a + 1) // 2 + j,
            )
        j += 4


cdef inline void outer_products(
    const real* a,          # IN  (n_panels, n, WIDTH)
    const real* b,          # IN  (n_panels, n, WIDTH)
    double* out,            # INOUT (n (n + 1) / 2,) lower triangle by rows, added to
    Py_ssize_t n,
    Py_ssize_t n_panels,
) noexcept nogil:
    """out[i, j] += sum over samples of a[i] b[j], for j <= i"""
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
            target[j] += sum_of_products(a + row * WIDTH, b + j * WIDTH, n * WIDTH, n_panels)
            j += 1


cdef inline void _outer_4x4(
    const real* a, const real* b, double* out, Py_ssize_t i, Py_ssize_t j, Py_ssize_t stride, Py_ssize_t n_panels,
) noexcept nogil:
    """out[i:i + 4, j:j + 4] += sum over samples of a bT; if i = j, only the lower triangle"""
    # Eight loads serve sixteen multiply-adds, one for each sum. Finally the lanes of each sum, which belong to
    # different samples, are added in double. (In vec_sums of a float32 build for AVX-512, the first two additions are
    # in float32.)
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
    if i != j:
        vec_sums(s00, s01, s02, s03, target)
        vec_sums(s10, s11, s12, s13, target + i + 1)
        vec_sums(s20, s21, s22, s23, target + 2 * i + 3)
    else:
        target[0] += vec_sum(s00)
        target += i + 1
        target[0] += vec_sum(s10)
        target[1] += vec_sum(s11)
        target += i + 2
        target[0] += vec_sum(s20)
        target[1] += vec_sum(s21)
        target[2] += vec_sum(s22)
        target -= 2 * i + 3
    vec_sums(s30, s31, s32, s33, target + 3 * i + 6)


cdef inline void _outer_1x4(
    const real* a, const real* b, double* out, Py_ssize_t stride, Py_ssize_t n_panels,
) noexcept nogil:
    """out[0:4] += sum over samples of a b[0:4]"""
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
    vec_sums(s0, s1, s2, s3, out)


cdef inline double sum_of_products(const real* a, const real* b, Py_ssize_t stride, Py_ssize_t n_panels) noexcept nogil:
    """Return the sum over samples of a b"""
    cdef vec s0 = vec_set(0), s1 = vec_set(0)
    cdef Py_ssize_t p
    for p in range(n_panels):
        s0 = s0 + (<const vec*> (a + p * stride))[0] * (<const vec*> (b + p * stride))[0]
        s1 = s1 + (<const vec*> (a + p * stride))[1] * (<const vec*> (b + p * stride))[1]
    return vec_sum(s0 + s1)


cdef inline double sum_of_some_products(
    const real* a, const real* b, const unsigned int* slots, Py_ssize_t n,
) noexcept nogil:
    """sum_of_products over some rows of a and b"""
    cdef vec s0 = vec_set(0), s1 = vec_set(0)
    cdef Py_ssize_t i, at
    for i in range(n):
        at = slots[i] * WIDTH
        s0 = s0 + (<const vec*> (a + at))[0] * (<const vec*> (b + at))[0]
        s1 = s1 + (<const vec*> (a + at))[1] * (<const vec*> (b + at))[1]
    return vec_sum(s0 + s1)
