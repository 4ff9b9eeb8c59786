"""The M-steps of covariances that share their volume, their shape or their orientation between components.

A covariance is volume times orientation diag(shape) orientationT, where the shape has the determinant 1 (Celeux &
Govaert 1995). A name of three letters says for volume, shape and orientation whether they are equal in all components
(E), vary (V), or are those of the identity (I). W_k = N_k C_k is the scatter of a component, where C_k is the
covariance that the type without constraints has; n is the sum of the counts. An empty component gives nothing to
what is shared; what is its own comes from the pooled covariance.
"""
from libc.math cimport cos, exp, fabs, INFINITY, log, M_PI, pow, sin

from diag cimport diag_covariances
from eigen cimport eigenvectors, rotate, rotate_columns
from full cimport full_covariances
from layout cimport EPS, Statistics
from linalg cimport cholesky, invert_lower
from spherical cimport spherical_covariances


cdef enum:
    MOST_STEPS = 10000      # of an alternating M-step
    MOST_SWEEPS = 500       # over the pairs of axes
    SWEEPS_OF_START = 10    # from each start, the best of which is then improved to the end
    ANGLES = 16             # at which a rotation is tried before its angle is refined


cdef inline Py_ssize_t constrained_diag_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return K + D


cdef inline Py_ssize_t constrained_full_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return (K + 4) * D * D + K + D


# ---- spheres ----

cdef inline void eii_covariances(
    const Statistics* s,
    double* C,              # OUT (K,)
) noexcept nogil:
    """C_k = sum over l of N_l C_l / n"""
    cdef Py_ssize_t k
    cdef double total = 0
    spherical_covariances(s, C)
    for k in range(s.n_components):
        if not s.empty[k]:
            total += s.counts[k] * C[k]
    for k in range(s.n_components):
        C[k] = total / sum_of_counts(s)


cdef inline double sum_of_counts(const Statistics* s) noexcept nogil:
    """The sum of the counts of components that are not empty"""
    cdef Py_ssize_t k
    cdef double n = 0
    for k in range(s.n_components):
        if not s.empty[k]:
            n += s.counts[k]
    return n


# ---- ellipsoids along the axes ----

cdef inline void eei_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D)
) noexcept nogil:
    """C_kd = sum over l of N_l C_ld / n"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double total, n = sum_of_counts(s)
    diag_covariances(s, C)
    for d in range(D):
        total = 0
        for k in range(K):
            if not s.empty[k]:
                total += s.counts[k] * C[k * D + d]
        for k in range(K):
            C[k * D + d] = total / n


cdef inline void evi_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D)
) noexcept nogil:
    """C_k = volume B_k, with B_k = C_k / g(C_k) and the mean volume of the g(C_k); g is the geometric mean"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double volume = 0, own
    diag_covariances(s, C)
    for k in range(K):
        if not s.empty[k]:
            volume += s.counts[k] * geometric_mean(C + k * D, 1, D)
    volume /= sum_of_counts(s)
    for k in range(K):
        own = geometric_mean(C + k * D, 1, D)
        if own > 0:
            for d in range(D):
                C[k * D + d] *= volume / own


cdef inline void vei_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D)
) noexcept nogil:
    """C_k = volume_k B, see volumes_and_shape"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double* volume = s.scratch
    cdef double* shape = s.scratch + K
    diag_covariances(s, C)
    volumes_and_shape(s, C, D, 1, volume, shape)
    for k in range(K):
        for d in range(D):
            C[k * D + d] = volume[k] * shape[d]


cdef inline double geometric_mean(const double* x, Py_ssize_t stride, Py_ssize_t D) noexcept nogil:
    """exp(mean of log x); 0 if an entry is not positive"""
    cdef Py_ssize_t d
    cdef double total = 0
    for d in range(D):
        if not x[d * stride] > 0:
            return 0
        total += log(x[d * stride])
    return exp(total / D)


cdef inline void volumes_and_shape(
    const Statistics* s,
    const double* C,        # IN  (K, ...) variances along the axes
    Py_ssize_t component,   # stride from component to component
    Py_ssize_t axis,        # stride from axis to axis
    double* volume,         # OUT (K,)
    double* shape,          # OUT (D,) of geometric mean 1
) noexcept nogil:
    """Find volumes and one shape for given axes, by alternating steps"""
    # For a given shape the best volume is mean_d(C_kd / shape_d), and for given volumes the best shape is
    # sum_k N_k C_kd / volume_k, scaled. Each step lowers sum_k N_k D log volume_k, which is minus twice the
    # log-likelihood up to a constant. That is flat at its minimum, and stops falling when the volumes have half
    # of their digits only; so the steps end when the volumes stop changing.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d, _step
    cdef double g, own, change, last = INFINITY
    for k in range(K):
        volume[k] = 1
    for _step in range(MOST_STEPS):
        for d in range(D):
            shape[d] = 0
            for k in range(K):
                if not s.empty[k] and volume[k] > 0:
                    shape[d] += s.counts[k] * C[k * component + d * axis] / volume[k]
        g = geometric_mean(shape, 1, D)
        if not g > 0:
            return      # a variance of 0 in all components: the factors will fail
        for d in range(D):
            shape[d] /= g
        change = 0
        for k in range(K):
            own = 0
            for d in range(D):
                own += C[k * component + d * axis] / shape[d] / D
            change = max(change, fabs(own - volume[k]) / own if own > 0 else 0)
            volume[k] = own
        if settled(change, last):
            return
        last = change


cdef inline bint settled(double change, double last) noexcept nogil:
    """Whether the largest relative change of the volumes is rounding error: within EPS, or small and not falling"""
    return change <= 4 * EPS or (change < 1e-10 and change >= last)


# ---- ellipsoids ----

cdef inline void eev_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = L_k diag(sum over l of N_l Omega_l / n) L_kT, with the eigenvectors L_k and eigenvalues Omega_k of C_k"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, d
    cdef double* L = s.scratch
    cdef double* variances = s.scratch + K * D * D
    cdef double total, n = sum_of_counts(s)
    full_covariances(s, C)
    for k in range(K):
        eigenvectors(C + k * D * D, L + k * D * D, D)
    for d in range(D):
        total = 0
        for k in range(K):
            if not s.empty[k]:
                total += s.counts[k] * C[k * D * D + d * (D + 1)]
        variances[d] = total / n
    for k in range(K):
        compose(L + k * D * D, variances, 1, 1, C + k * D * D, D)


cdef inline void vev_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = volume_k L_k diag(shape) L_kT, see volumes_and_shape"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k
    cdef double* L = s.scratch
    cdef double* volume = s.scratch + K * D * D
    cdef double* shape = volume + K
    full_covariances(s, C)
    for k in range(K):
        eigenvectors(C + k * D * D, L + k * D * D, D)
    volumes_and_shape(s, C, D * D, D + 1, volume, shape)
    for k in range(K):
        compose(L + k * D * D, shape, 1, volume[k], C + k * D * D, D)


cdef inline void compose(
    const double* L,            # IN  (D, D) axes in its columns
    const double* variances,    # IN  along the axes
    Py_ssize_t stride,          # of the variances
    double volume,
    double* C,                  # OUT (D, D)
    Py_ssize_t D,
) noexcept nogil:
    """C = volume L diag(variances) LT"""
    cdef Py_ssize_t i, j, d
    cdef double total
    for i in range(D):
        for j in range(i + 1):
            total = 0
            for d in range(D):
                total += L[i * D + d] * variances[d * stride] * L[j * D + d]
            C[i * D + j] = C[j * D + i] = volume * total


cdef inline void evv_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = volume C_k / g(C_k), with the mean volume of the g(C_k); g(A) = |A|**(1 / D)"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i
    cdef double* own = s.scratch
    cdef double* L = s.scratch + K
    cdef double volume = 0
    full_covariances(s, C)
    for k in range(K):
        for i in range(D * D):
            L[i] = C[k * D * D + i]
        own[k] = 0
        if cholesky(L, D):
            own[k] = geometric_mean(L, D + 1, D)
            own[k] *= own[k]
        if not s.empty[k]:
            volume += s.counts[k] * own[k]
    volume /= sum_of_counts(s)
    for k in range(K):
        if own[k] > 0:      # else it is not positive definite, which its factor will say
            for i in range(D * D):
                C[k * D * D + i] *= volume / own[k]


cdef inline void vee_covariances(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
) noexcept nogil:
    """C_k = volume_k A for one matrix A with |A| = 1"""
    # As in volumes_and_shape: for a given A the best volume is tr(C_k A**-1) / D, and for given volumes the best
    # A is sum_k N_k C_k / volume_k, scaled. tr(C A**-1) is taken with A**-1 = BT B for the inverse B of A's factor.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i, j, _step
    cdef double* volume = s.scratch
    cdef double* A = s.scratch + K
    cdef double* L = A + D * D
    cdef double* B = L + D * D
    cdef double* inverse = B + D * D
    cdef double g, total, change, last = INFINITY
    full_covariances(s, C)
    for k in range(K):
        volume[k] = 1
    for _step in range(MOST_STEPS):
        for i in range(D * D):
            A[i] = 0
            for k in range(K):
                if not s.empty[k] and volume[k] > 0:
                    A[i] += s.counts[k] * C[k * D * D + i] / volume[k]
            L[i] = A[i]
        if not cholesky(L, D):
            return      # all components are singular in one direction: the factors will fail
        g = geometric_mean(L, D + 1, D)
        g *= g
        invert_lower(L, B, D)
        for i in range(D):
            for j in range(i + 1):
                total = 0
                for k in range(i, D):
                    total += B[k * D + i] * B[k * D + j]
                inverse[i * D + j] = inverse[j * D + i] = total * g
        change = 0
        for k in range(K):
            total = 0
            for i in range(D * D):
                total += C[k * D * D + i] * inverse[i] / D
            change = max(change, fabs(total - volume[k]) / total if total > 0 else 0)
            volume[k] = total
        if settled(change, last):
            break
        last = change
    for k in range(K):
        for i in range(D * D):
            C[k * D * D + i] = volume[k] * A[i] / g


# ---- ellipsoids with common axes ----
#
# With T_k = QT C_k Q for the common axes Q (its columns), the best variances along the axes are the diagonals t_k of
# T_k, in VVE as they are and in EVE scaled to one volume. What is left to minimise over Q is
#     VVE: sum_k N_k sum_d log t_kd          EVE: sum_k N_k g(t_k).
# A rotation of two axes changes two entries of each t_k, whose sum stays. With half the sum a, half the difference b
# and the off-diagonal entry r of T_k, the entries after a rotation by the angle phi / 2 are a +- u, where
# u = b cos phi + r sin phi, and their product is a**2 - u**2. So the objective of one rotation is that of one angle,
# which is looked for among some, and refined. Each rotation lowers the objective, so that the sweeps end.

cdef inline void eve_covariances(const Statistics* s, double* C) noexcept nogil:
    common_axes(s, C, True)


cdef inline void vve_covariances(const Statistics* s, double* C) noexcept nogil:
    common_axes(s, C, False)


cdef inline void common_axes(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
    bint equal_volume,
) noexcept nogil:
    """Find the axes from those of the covariances before, or else from several starts, and keep the best"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i, start
    cdef double* T = s.scratch                  # (K, D, D)
    cdef double* Q = T + K * D * D              # (D, D)
    cdef double* best = Q + D * D               # (D, D)
    cdef double* A = best + D * D               # (D, D)
    cdef double* means = A + D * D              # (K,)
    cdef double value, lowest = 1e308, volume = 0, own
    full_covariances(s, C)
    for start in range(K + 2):
        if s.before != NULL:
            axes_before(s.before, A, Q, K, D)
        elif start < K:
            if s.empty[start]:
                continue
            for i in range(D * D):
                A[i] = C[start * D * D + i]
            eigenvectors(A, Q, D)
        elif start == K:
            for i in range(D * D):
                A[i] = 0
                for k in range(K):
                    if not s.empty[k]:
                        A[i] += s.counts[k] * C[k * D * D + i]
            eigenvectors(A, Q, D)
        else:
            for i in range(D * D):
                Q[i] = 0
            for i in range(D):
                Q[i * D + i] = 1
        value = improve_axes(s, C, T, Q, A, means, equal_volume, SWEEPS_OF_START)
        if not value < 1e308:   # a component has no extent along an axis: the factor of its covariance will fail
            return
        if value < lowest:
            lowest = value
            for i in range(D * D):
                best[i] = Q[i]
        if s.before != NULL:
            break
    improve_axes(s, C, T, best, A, means, equal_volume, MOST_SWEEPS)
    transform(C, best, T, A, K, D)
    if equal_volume:
        for k in range(K):
            if not s.empty[k]:
                volume += s.counts[k] * geometric_mean(T + k * D * D, D + 1, D)
        volume /= sum_of_counts(s)
    for k in range(K):
        own = geometric_mean(T + k * D * D, D + 1, D)
        compose(best, T + k * D * D, D + 1, volume / own if equal_volume and own > 0 else 1, C + k * D * D, D)


cdef inline void axes_before(const double* before, double* A, double* Q, Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    """The axes that all covariances have in common: the eigenvectors of a sum of them"""
    # The weights are numbers without a pattern, since a plain sum may have equal eigenvalues.
    cdef Py_ssize_t k, i
    cdef double weight, trace
    for i in range(D * D):
        A[i] = 0
    for k in range(K):
        trace = 0
        for i in range(D):
            trace += before[k * D * D + i * (D + 1)]
        weight = (1 + (k + 1) * 0.6180339887498949 - <Py_ssize_t> ((k + 1) * 0.6180339887498949)) / trace
        for i in range(D * D):
            A[i] += weight * before[k * D * D + i]
    eigenvectors(A, Q, D)


cdef inline void transform(
    const double* C, const double* Q, double* T, double* A, Py_ssize_t K, Py_ssize_t D,
) noexcept nogil:
    """T_k = QT C_k Q"""
    cdef Py_ssize_t k, i, j, d
    cdef double total
    for k in range(K):
        for i in range(D):
            for j in range(D):
                total = 0
                for d in range(D):
                    total += C[k * D * D + i * D + d] * Q[d * D + j]
                A[i * D + j] = total
        for i in range(D):
            for j in range(i + 1):
                total = 0
                for d in range(D):
                    total += Q[d * D + i] * A[d * D + j]
                T[k * D * D + i * D + j] = T[k * D * D + j * D + i] = total


cdef inline double improve_axes(
    const Statistics* s,
    const double* C,        # IN    (K, D, D)
    double* T,              # TMP   (K, D, D)
    double* Q,              # INOUT (D, D)
    double* A,              # TMP   (D, D)
    double* means,          # TMP   (K,)
    bint equal_volume,
    Py_ssize_t n_sweeps,
) noexcept nogil:
    """Rotate each pair of axes in turn until the objective does not fall any more, in n_sweeps at most; return it"""
    # Most sweeps take a step of Newton for each pair. The sweeps end when one that looked at all angles has not
    # lowered the objective, or after n_sweeps.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i, j, _sweep
    cdef double phi, c, sn, value, previous = objective_of(s, C, Q, T, A, means, equal_volume)
    cdef double rounding = EPS * (previous if equal_volume else D * sum_of_counts(s))
    cdef double* t
    cdef bint thorough = False
    for _sweep in range(n_sweeps):
        for i in range(D):
            for j in range(i + 1, D):
                phi = best_angle(s, T, means, i, j, equal_volume, thorough)
                if phi == 0:
                    continue
                c, sn = cos(phi / 2), -sin(phi / 2)
                for k in range(K):
                    t = T + k * D * D
                    value = t[i * (D + 1)] * t[j * (D + 1)]
                    rotate(t, D, i, j, c, sn)
                    if equal_volume and not s.empty[k]:
                        means[k] *= pow(t[i * (D + 1)] * t[j * (D + 1)] / value, 1.0 / D)
                rotate_columns(Q, D, i, j, c, sn)
        # computed anew from the covariances, so that the rounding errors of many rotations do not count
        value = objective_of(s, C, Q, T, A, means, equal_volume)
        if value < previous - rounding:
            thorough = False
        elif thorough:
            return value if value < 1e308 else previous
        else:
            thorough = True
        previous = value
    return previous


cdef inline double objective_of(
    const Statistics* s, const double* C, const double* Q, double* T, double* A, double* means, bint equal_volume,
) noexcept nogil:
    """The objective of the axes, T, and the geometric means of its diagonals; 1e308 if a variance is not positive"""
    cdef Py_ssize_t D = s.n_features, k
    cdef double value = 0, g
    transform(C, Q, T, A, s.n_components, D)
    for k in range(s.n_components):
        if s.empty[k]:
            continue
        means[k] = g = geometric_mean(T + k * D * D, D + 1, D)
        if not g > 0:
            return 1e308
        value += s.counts[k] * (g if equal_volume else D * log(g))
    return value


cdef inline double best_angle(
    const Statistics* s,
    const double* T,        # IN  (K, D, D)
    const double* means,    # IN  (K,) geometric means of the diagonals of T
    Py_ssize_t i,
    Py_ssize_t j,
    bint equal_volume,
    bint thorough,
) noexcept nogil:
    """An angle in (-pi / 2, pi / 2] with a lower objective; 0 if there is none but for rounding

    It is the step of Newton from 0, or if `thorough`, or where that is not a minimum, the best of all angles.
    """
    cdef Py_ssize_t step, _step, best = 0
    cdef double value, low, high, middle, slope = 0, curvature = 0
    cdef double here = angle_objective(s, T, means, i, j, 0, equal_volume, &slope, &curvature), lowest = here
    if not thorough and fabs(slope) < curvature:
        middle = -slope / curvature
        value = angle_objective(s, T, means, i, j, middle, equal_volume, &slope, &curvature)
        return middle if value < here else 0
    for step in range(1, ANGLES):
        value = angle_objective(s, T, means, i, j, step * M_PI / ANGLES, equal_volume, &slope, &curvature)
        if value < lowest:
            lowest = value
            best = step
    # The derivative changes its sign between the neighbours of the best of the angles.
    low, high = (best - 1) * M_PI / ANGLES, (best + 1) * M_PI / ANGLES
    for _step in range(60):
        middle = (low + high) / 2
        if middle == low or middle == high:
            break
        angle_objective(s, T, means, i, j, middle, equal_volume, &slope, &curvature)
        if slope > 0:
            high = middle
        else:
            low = middle
    middle = (low + high) / 2
    if middle > M_PI / 2:
        middle -= M_PI
    value = angle_objective(s, T, means, i, j, middle, equal_volume, &slope, &curvature)
    return middle if value < here else 0


cdef inline double angle_objective(
    const Statistics* s, const double* T, const double* means, Py_ssize_t i, Py_ssize_t j, double phi,
    bint equal_volume, double* slope, double* curvature,
) noexcept nogil:
    """The part of the objective that a rotation by phi / 2 of two axes changes, and its two derivatives"""
    # With P = a**2 - u**2 and u'' = -u, the derivatives of log P are q = -2 u u' / P and 2 (u**2 - u'**2) / P - q**2.
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k
    cdef double value = 0, a, b, r, u, du, product, g, q, dq, c = cos(phi), sn = sin(phi)
    cdef const double* t
    slope[0] = curvature[0] = 0
    for k in range(K):
        if s.empty[k]:
            continue
        t = T + k * D * D
        a = (t[i * (D + 1)] + t[j * (D + 1)]) / 2
        b = (t[i * (D + 1)] - t[j * (D + 1)]) / 2
        r = t[i * D + j]
        u = b * c + r * sn
        du = r * c - b * sn
        product = (a - u) * (a + u)
        if not product > 0:
            return 1e308
        q = -2 * u * du / product
        dq = 2 * (u * u - du * du) / product - q * q
        if equal_volume:
            g = s.counts[k] * means[k] * pow(product / (t[i * (D + 1)] * t[j * (D + 1)]), 1.0 / D)
            value += g
            slope[0] += g * q / D
            curvature[0] += g * (dq + q * q / D) / D
        else:
            value += s.counts[k] * log(product)
            slope[0] += s.counts[k] * q
            curvature[0] += s.counts[k] * dq
    return value
