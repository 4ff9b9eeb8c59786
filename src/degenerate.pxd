"""Covariances that the statistics do not determine: of empty components, and of those that collapsed on a point."""
from layout cimport EPS, Statistics


cdef inline void pool_covariances(const Statistics* s, double* covariances, Py_ssize_t size) noexcept nogil:
    """Set the covariance of each empty component, of `size` entries, to the mean of the others weighted by counts"""
    cdef Py_ssize_t K = s.n_components, k, l, i
    cdef double total, n
    for k in range(K):
        if s.empty[k]:
            for i in range(size):
                total = n = 0
                for l in range(K):
                    if not s.empty[l]:
                        total += s.counts[l] * covariances[l * size + i]
                        n += s.counts[l]
                covariances[k * size + i] = total / n


cdef inline void lift_collapsed(const Statistics* s, double* variances, Py_ssize_t n_variances) noexcept nogil:
    """Raise the variances, n_variances for each component, that are 0 up to rounding"""
    # A component that sits on a single point has a variance of 0. Responsibilities have rounding errors of about
    # eps. So the component may contain a total weight of 10 eps that belongs to other components. The variance is
    # set to what this weight adds, given the scatter of the data about the mean. If the scatter is 0 too, the
    # variance stays as it is. Only variances below (eps |mu|)**2 are changed, because the data cannot resolve them;
    # at mu = 0 a variance of 0 is exact.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, n_features = D // n_variances, k, l, d, i
    cdef double noise, scatter, gap
    for k in range(K):
        if s.empty[k]:
            continue
        for i in range(n_variances):
            noise = scatter = 0
            for d in range(i * n_features, (i + 1) * n_features):
                noise += EPS * EPS * s.means[k * D + d] * s.means[k * D + d] / n_features
            if noise == 0 or variances[k * n_variances + i] > noise:
                continue
            for l in range(K):
                if not s.empty[l]:
                    for d in range(i * n_features, (i + 1) * n_features):
                        gap = s.means[l * D + d] - s.means[k * D + d]
                        scatter += s.counts[l] / s.total * gap * gap / n_features
                    if l != k:
                        scatter += s.counts[l] / s.total * variances[l * n_variances + i]
            if 10 * EPS / s.counts[k] * scatter > noise:
                variances[k * n_variances + i] = 10 * EPS / s.counts[k] * scatter
