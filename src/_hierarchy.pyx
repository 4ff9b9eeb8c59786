"""Agglomerative clustering by a criterion of Gaussian models, for the start of EM.

Each cluster has a term, and the clusters whose union increases the sum of the terms least are merged, until one is
left. With n_k samples, mean m_k, and scatter W_k = sum of (x - m_k)(x - m_k)T, the terms are

    EII     tr W_k, the criterion of Ward
    VVV     n_k log(|W_k / n_k| + (tr W_k + tr W / (n D)) / n_k), where the determinant counts only if n_k > D

(Fraley 1998). W is the scatter of all n samples, and its trace keeps the logarithm of a single sample finite. A union
of i and j has W_i + W_j + n_i n_j / (n_i + n_j) (m_i - m_j)(m_i - m_j)T.

Everything is computed in double on one thread. This file is compiled once for each instruction set. Its functions do
not check their arguments.
"""
from libc.math cimport INFINITY, log
from libc.string cimport memmove

from layout cimport CHECKS, EXTENT, OK
from linalg cimport cholesky


cdef struct Clusters:
    Py_ssize_t D
    Py_ssize_t n_left           # clusters that are left
    double* means               # (n, D)
    double* counts              # (n,)
    double* scatters            # (n, D (D + 1) / 2) lower triangles, or NULL if determinants do not count
    double* traces              # (n,)
    double* terms               # (n,)
    double* best                # (n,) least cost in the row of the cluster
    Py_ssize_t* left            # (n_left,) the clusters, in ascending order
    Py_ssize_t* nearest         # (n,) cluster that has the least cost
    double* costs               # row i has the costs of merging i with the clusters before it
    double* matrix              # (D, D)
    double floor                # tr W / (n D) for VVV, 0 for EII
    double negligible           # determinants do not count if tr W_k / n_k is less


def agglomerate(
    double[:, ::1] means,           # INOUT (n, D) in: different points; out: the means of merged clusters
    double[::1] counts,             # INOUT (n,) in: number of samples at each point; out: in the merged clusters
    Py_ssize_t[:, ::1] mergers,      # OUT   (n - 1, 2) clusters j < i of each merger; the union takes the place of j
    double[:, ::1] scatters,        # INOUT (n, D (D + 1) / 2) zeros, or (0, 0) if determinants do not count
    double[::1] costs,              # TMP   (n (n - 1) / 2,)
    double[:, ::1] sums,            # TMP   (3, n)
    Py_ssize_t[:, ::1] links,       # TMP   (2, n)
    double[:, ::1] matrix,          # TMP   (D, D)
    double floor,                   # tr W / (n D) for VVV, 0 for EII
    double negligible,              # determinants do not count if tr W_k / n_k is less
):
    """Merge clusters until one is left; return OK, or EXTENT if an array is too small"""
    cdef Clusters c
    cdef Py_ssize_t n = means.shape[0], D = means.shape[1]
    if CHECKS and (
        counts.shape[0] < n or mergers.shape[0] < n - 1 or mergers.shape[1] < 2 or costs.shape[0] < n * (n - 1) // 2
        or (scatters.shape[0] and (scatters.shape[0] < n or scatters.shape[1] < D * (D + 1) // 2))
        or sums.shape[0] < 3 or sums.shape[1] < n or links.shape[0] < 2 or links.shape[1] < n
        or matrix.shape[0] < D or matrix.shape[1] < D
    ):
        return EXTENT
    if n < 2:
        return OK
    c.D = D
    c.n_left = n
    c.means = &means[0, 0]
    c.counts = &counts[0]
    c.scatters = &scatters[0, 0] if scatters.shape[0] else NULL
    c.traces = &sums[0, 0]
    c.terms = &sums[1, 0]
    c.best = &sums[2, 0]
    c.left = &links[0, 0]
    c.nearest = &links[1, 0]
    c.costs = &costs[0]
    c.matrix = &matrix[0, 0]
    c.floor = floor
    c.negligible = negligible
    with nogil:
        begin(&c)
        merge_all(&c, &mergers[0, 0])
    return OK


cdef void begin(Clusters* c) noexcept nogil:
    """Make a cluster of each point, and compute the costs of all pairs"""
    cdef Py_ssize_t i, j
    for i in range(c.n_left):
        c.left[i] = i
        c.traces[i] = 0
        c.terms[i] = c.counts[i] * log(c.floor / c.counts[i]) if c.floor > 0 else 0
        for j in range(i):
            row(c, i)[j] = cost(c, i, j)
        find_nearest(c, i)


cdef void merge_all(Clusters* c, Py_ssize_t* mergers) noexcept nogil:
    """Merge the pair of least cost, the first one if several are equal, until one cluster is left"""
    cdef Py_ssize_t i, j, k, p, place
    cdef double value
    while c.n_left > 1:
        place = 1
        for p in range(2, c.n_left):
            if c.best[c.left[p]] < c.best[c.left[place]]:
                place = p
        i = c.left[place]
        j = c.nearest[i]
        mergers[0] = j
        mergers[1] = i
        mergers += 2
        unite(c, i, j)
        c.n_left -= 1
        memmove(c.left + place, c.left + place + 1, (c.n_left - place) * sizeof(Py_ssize_t))
        for p in range(c.n_left):
            k = c.left[p]
            if k < j:
                row(c, j)[k] = cost(c, j, k)
            elif k == j:
                find_nearest(c, p)
            else:
                value = cost(c, k, j)
                row(c, k)[j] = value
                if value < c.best[k] or (value == c.best[k] and j <= c.nearest[k]):
                    c.best[k] = value
                    c.nearest[k] = j
                elif c.nearest[k] == i or c.nearest[k] == j:
                    find_nearest(c, p)


cdef inline double* row(const Clusters* c, Py_ssize_t i) noexcept nogil:
    """Return the costs of merging i with the clusters before it"""
    return c.costs + i * (i - 1) // 2


cdef void find_nearest(Clusters* c, Py_ssize_t place) noexcept nogil:
    """Find the least cost, and the first cluster that has it, in the row of the cluster at this place"""
    cdef Py_ssize_t i = c.left[place], p
    cdef const double* costs = row(c, i)
    c.best[i] = INFINITY
    c.nearest[i] = 0
    for p in range(place):
        if costs[c.left[p]] < c.best[i]:
            c.best[i] = costs[c.left[p]]
            c.nearest[i] = c.left[p]


cdef double cost(const Clusters* c, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Return the term of the union of i and j minus their own terms"""
    cdef double between = between_trace(c, i, j)
    if c.floor > 0:
        return union_term(c, i, j, between) - c.terms[i] - c.terms[j]
    return between


cdef inline double between_trace(const Clusters* c, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """n_i n_j / (n_i + n_j) |m_i - m_j|**2, by which the trace of the union exceeds the sum of the traces"""
    cdef Py_ssize_t d
    cdef double s = 0, a
    for d in range(c.D):
        a = c.means[i * c.D + d] - c.means[j * c.D + d]
        s += a * a
    return reduced(c, i, j) * s


cdef inline double reduced(const Clusters* c, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """n_i n_j / (n_i + n_j)"""
    return c.counts[i] * c.counts[j] / (c.counts[i] + c.counts[j])


cdef inline double union_term(const Clusters* c, Py_ssize_t i, Py_ssize_t j, double between) noexcept nogil:
    """Return the term of VVV for the union of i and j"""
    cdef double n = c.counts[i] + c.counts[j], trace = c.traces[i] + c.traces[j] + between
    cdef double x = (trace + c.floor) / n
    # A determinant is at most (trace / D)**D, which for a small trace is lost in the rounding error of the sum.
    if c.scatters != NULL and n > c.D and trace >= c.negligible * n:
        x += determinant(c, i, j, n)
    return n * log(x)


cdef double determinant(const Clusters* c, Py_ssize_t i, Py_ssize_t j, double n) noexcept nogil:
    """|W / n| for the scatter W of the union of i and j, which has n samples"""
    cdef Py_ssize_t D = c.D, d, e, at = 0
    cdef const double* a = c.scatters + i * (D * (D + 1) // 2)
    cdef const double* b = c.scatters + j * (D * (D + 1) // 2)
    cdef const double* p = c.means + i * D
    cdef const double* q = c.means + j * D
    cdef double r = reduced(c, i, j) / n, s, det = 1
    n = 1 / n
    for d in range(D):
        s = r * (p[d] - q[d])
        for e in range(d + 1):
            c.matrix[d * D + e] = n * (a[at + e] + b[at + e]) + s * (p[e] - q[e])
        at += d + 1
    if not cholesky(c.matrix, D):
        return 0
    for d in range(D):
        det *= c.matrix[d * D + d]
    return det * det


cdef void unite(Clusters* c, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Put the union of i and j in the place of j"""
    cdef Py_ssize_t D = c.D, d, e
    cdef double between = between_trace(c, i, j), r = reduced(c, i, j)
    cdef double share = c.counts[i] / (c.counts[i] + c.counts[j])
    cdef double* a
    cdef double* b
    cdef const double* p = c.means + i * D
    cdef double* q = c.means + j * D
    if c.floor > 0:
        c.terms[j] = union_term(c, i, j, between)
    if c.scatters != NULL:
        a = c.scatters + i * (D * (D + 1) // 2)
        b = c.scatters + j * (D * (D + 1) // 2)
        for d in range(D):
            for e in range(d + 1):
                b[0] += a[0] + r * (p[d] - q[d]) * (p[e] - q[e])
                a += 1
                b += 1
    c.traces[j] += c.traces[i] + between
    c.counts[j] += c.counts[i]
    for d in range(D):
        q[d] += share * (p[d] - q[d])
