"""The M-steps of ellipsoids with common axes, EVE and VVE: the search for the axes.

See constrained.pxd for the names. With T_k = QT C_k Q for the common axes Q (its columns), the best variances along
the axes are the diagonals t_k of T_k, in VVE as they are and in EVE scaled to one volume. What is left to minimise
over Q is

    VVE: sum_k N_k sum_d log t_kd          EVE: sum_k N_k g(t_k),  g is the geometric mean.

Browne & McNicholas (2014) lower it by majorisation. Here the axes are rotated pair by pair, as in the method of Flury &
Gautschi (1986), until they are near a minimum, and then all together by the method of Newton.
"""
from libc.math cimport cos, fabs, fmax, fmin, INFINITY, log, M_PI, pow, sin, sqrt

from constrained cimport compose, geometric_mean, spans_space, sum_of_counts
from eigen cimport eigenvectors, rotate, rotate_columns
from full cimport full_covariances
from layout cimport EPS, Statistics


cdef enum:
    MOST_WORK = 300000000   # multiplications in a search, about 0.1 s; the next M-step goes on from there
    SWEEPS_OF_START = 2     # over the pairs of axes, from each start
    STEPS_OF_START = 3      # of Newton after them; the best start is then improved to the end
    SMALL = 100000          # the largest K D**3 for which each start is improved
    ANGLES = 16             # at which a rotation is tried before its angle is refined
    BISECTIONS = 10         # that refine it
    MOST_GRADIENTS = 50     # products with the Hessian in a step of Newton
    REDUCTIONS = 4          # of a step of Newton that does not lower the objective
    WORK = 9                # matrices that the search needs beside the transformed covariances


# What the search works on. All matrices are (D, D).
cdef struct Search:
    Py_ssize_t n_components
    Py_ssize_t n_features
    bint equal_volume
    const double* counts
    const signed char* empty
    const double* C             # (K, D, D) covariances without constraints
    double* T                   # (K, D, D) QT C_k Q
    double* means               # (K,)      geometric means of the diagonals of T
    double* inverse             # (K, D)    1 / t_kd, and room for D numbers
    double* Q                   # axes
    double* trial
    double* A
    double* B
    double* step                # antisymmetric; the axes i and j are rotated by step_ij
    double* direction           # of the conjugate gradients
    double* residual
    double* product             # of the Hessian and the direction
    double* curvature           # the diagonal of the Hessian, made positive
    double total                # sum of the weights of the components
    double work                 # multiplications so far, roughly


cdef inline Py_ssize_t common_axes_scratch_size(Py_ssize_t K, Py_ssize_t D) noexcept nogil:
    return (K + WORK + 1) * D * D + K + (K + 1) * D


cdef inline void eve_covariances(const Statistics* s, double* C) noexcept nogil:
    common_axes(s, C, True)


cdef inline void vve_covariances(const Statistics* s, double* C) noexcept nogil:
    common_axes(s, C, False)


cdef inline void common_axes(
    const Statistics* s,
    double* C,              # OUT (K, D, D)
    bint equal_volume,
) noexcept nogil:
    """Find the axes from those of the covariances before, or else from the best of several starts"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i, start
    cdef double* best = s.scratch + K * D * D
    cdef Search f
    cdef double value, lowest = INFINITY, volume = 0, own
    f.n_components, f.n_features, f.equal_volume = K, D, equal_volume
    f.counts, f.empty, f.C, f.T = s.counts, s.empty, C, s.scratch
    f.Q, f.trial, f.A, f.B = best + D * D, best + 2 * D * D, best + 3 * D * D, best + 4 * D * D
    f.step, f.direction, f.residual = best + 5 * D * D, best + 6 * D * D, best + 7 * D * D
    f.product, f.curvature, f.means = best + 8 * D * D, best + 9 * D * D, best + 10 * D * D
    f.inverse, f.work = f.means + K, 0
    full_covariances(s, C)
    for k in range(K):
        if not s.empty[k] and not spans_space(s, C, k, f.A, f.B, f.inverse):
            return
    if s.before != NULL:
        axes_before(s.before, f.A, best, K, D)
    else:
        for start in range(K + 2):
            if start < K and s.empty[start]:
                continue
            axes_of_start(s, C, start, f.A, f.Q)
            value = improve_start(&f) if K * D * D * D <= SMALL else objective(&f, f.Q)
            if value < lowest:
                lowest = value
                for i in range(D * D):
                    best[i] = f.Q[i]
    for i in range(D * D):
        f.Q[i] = best[i]
    improve_axes(&f)
    if equal_volume:
        for k in range(K):
            if not s.empty[k]:
                volume += s.counts[k] * geometric_mean(f.T + k * D * D, D + 1, D)
        volume /= sum_of_counts(s)
    for k in range(K):
        own = geometric_mean(f.T + k * D * D, D + 1, D)
        compose(f.Q, f.T + k * D * D, D + 1, volume / own if equal_volume and own > 0 else 1, C + k * D * D, D)


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


cdef inline void axes_of_start(
    const Statistics* s, const double* C, Py_ssize_t start, double* A, double* Q,
) noexcept nogil:
    """The axes of component `start`, or of the pooled covariance if it is K, or of the features if it is K + 1"""
    cdef Py_ssize_t K = s.n_components, D = s.n_features, k, i
    for i in range(D * D):
        A[i] = 0
        if start < K:
            A[i] = C[start * D * D + i]
        elif start == K:
            for k in range(K):
                if not s.empty[k]:
                    A[i] += s.counts[k] * C[k * D * D + i]
    eigenvectors(A, Q, D)   # of a matrix of zeros they are the axes of the features


cdef inline double objective(Search* f, const double* Q) noexcept nogil:
    """Compute T for the axes Q, and the objective; it is 1e308 if a variance is not positive"""
    cdef Py_ssize_t D = f.n_features, k
    cdef double value = 0, g
    cdef double* T
    f.work += 2 * f.n_components * D * D * D
    for k in range(f.n_components):
        T = f.T + k * D * D
        transform(f.C + k * D * D, Q, T, f.A, D)
        f.means[k] = g = geometric_mean(T, D + 1, D)
        if f.empty[k]:
            continue
        if not g > 0:
            return 1e308
        value += f.counts[k] * (g if f.equal_volume else D * log(g))
    return value


cdef inline void transform(const double* C, const double* Q, double* T, double* A, Py_ssize_t D) noexcept nogil:
    """T = QT C Q, with A = C Q"""
    cdef Py_ssize_t i, j
    multiply(C, Q, A, D)
    for i in range(D * D):
        T[i] = 0
    for i in range(D):
        add_rows(T + i * D, A, Q + i, D, D, i + 1)
    for i in range(D):
        for j in range(i):
            T[j * D + i] = T[i * D + j]


cdef inline void multiply(const double* A, const double* B, double* out, Py_ssize_t D) noexcept nogil:
    """out = A B"""
    cdef Py_ssize_t i
    for i in range(D * D):
        out[i] = 0
    for i in range(D):
        add_rows(out + i * D, B, A + i * D, 1, D, D)


cdef inline void add_rows(
    double* y,              # INOUT (n,)
    const double* X,        # IN    (D, D)
    const double* a,        # IN    (D,) with a stride
    Py_ssize_t stride,
    Py_ssize_t D,
    Py_ssize_t n,
) noexcept nogil:
    """y += sum_d a_d X[d, :n]"""
    cdef Py_ssize_t d = 0, i
    cdef double a0, a1, a2, a3
    while d + 4 <= D:
        a0, a1, a2, a3 = a[d * stride], a[(d + 1) * stride], a[(d + 2) * stride], a[(d + 3) * stride]
        for i in range(n):
            y[i] += a0 * X[i] + a1 * X[D + i] + a2 * X[2 * D + i] + a3 * X[3 * D + i]
        X += 4 * D
        d += 4
    while d < D:
        a0 = a[d * stride]
        for i in range(n):
            y[i] += a0 * X[i]
        X += D
        d += 1


cdef inline double improve_start(Search* f) noexcept nogil:
    """Lower the objective by a few sweeps and steps of Newton, and return it"""
    cdef double value = objective(f, f.Q)
    cdef Py_ssize_t _round
    for _round in range(SWEEPS_OF_START):
        if value < 1e308:
            sweep(f, False)
            value = objective(f, f.Q)
    for _round in range(STEPS_OF_START):
        if value < 1e308:
            value = newton_step(f, value)
    return value


cdef inline void improve_axes(Search* f) noexcept nogil:
    """Lower the objective until it does not fall any more, or the work is done; T is that of the axes found"""
    # Steps of Newton end at a minimum, beside which there may be a lower one. So at the end, rotations of each pair of
    # axes by all angles are tried.
    cdef double value, previous = objective(f, f.Q)
    if not previous < 1e308:
        return
    f.work = 0
    while f.work < MOST_WORK:
        value = newton_step(f, previous)
        if not value < previous - rounding_of(f, previous):
            sweep(f, True)
            value = objective(f, f.Q)
            if not value < previous - rounding_of(f, previous):
                break
        previous = value


cdef inline double rounding_of(Search* f, double value) noexcept nogil:
    """The rounding error of the objective"""
    return 4 * EPS * (value if f.equal_volume else f.n_features * f.total)


# ---- all axes together ----
#
# Let the axes become Q exp(step) for an antisymmetric matrix. To the second order, sum_d log t_d changes by
#     sum over i < j of h_ij step_ij + tr(W stepT T step) + tr(W T step step) - 2 sum_d (w_d (T step)_dd)**2,
# where W = diag(w), w_d = 1 / t_d, and h_ij = 2 T_ij (w_j - w_i). The objective of EVE has the Hessian of
# exp(sum_d log t_d / D), which adds a multiple of h hT. The equation of Newton is solved by conjugate gradients, which
# need only products of the Hessian and a direction. exp(step) is replaced by the product of the rotations of all pairs
# of axes, which is the same to the first order, so that convergence is quadratic still.

cdef inline double newton_step(Search* f, double previous) noexcept nogil:
    """Take a step of Newton, or a part of it, if it lowers the objective, and return the objective"""
    cdef Py_ssize_t D = f.n_features, i, j, _reduction
    cdef double largest = 0, size = 1, value, c, sn, decrease
    derivatives(f)
    decrease = conjugate_gradients(f)
    # A step that is predicted to change less than rounding errors do makes the axes more accurate still.
    cdef double bound = previous + (rounding_of(f, previous) if decrease < rounding_of(f, previous) else 0)
    for i in range(D):
        for j in range(i + 1, D):
            largest = fmax(largest, fabs(f.step[i * D + j]))
    if largest > 0.5:       # radians
        size = 0.5 / largest
    for _reduction in range(REDUCTIONS):
        for i in range(D * D):
            f.trial[i] = f.Q[i]
        for i in range(D):
            for j in range(i + 1, D):
                sn = size * f.step[i * D + j]
                c = 1 / sqrt(1 + sn * sn)
                rotate_columns(f.trial, D, i, j, c, sn * c)
        value = objective(f, f.trial)
        if value < bound:
            f.Q, f.trial = f.trial, f.Q
            return value
        size /= 4
    return objective(f, f.Q)


cdef inline void derivatives(Search* f) noexcept nogil:
    """Write minus the gradient to `residual`, and the diagonal of the Hessian to `curvature`"""
    cdef Py_ssize_t D = f.n_features, k, i, j
    cdef double weight, b, r, product, h, flat
    cdef double* T
    f.total = 0
    for i in range(D * D):
        f.residual[i] = f.curvature[i] = 0
    for k in range(f.n_components):
        if f.empty[k]:
            continue
        weight = weight_of(f, k)
        f.total += weight
        T = f.T + k * D * D
        for i in range(D):
            f.inverse[k * D + i] = 1 / T[i * (D + 1)]
        for i in range(D):
            for j in range(i + 1, D):
                r = T[i * D + j]
                b = T[i * (D + 1)] - T[j * (D + 1)]
                product = f.inverse[k * D + i] * f.inverse[k * D + j]
                h = 2 * r * b * product
                f.residual[i * D + j] -= weight * h
                f.curvature[i * D + j] += weight * (
                    (2 * b * b - 8 * r * r) * product - h * h * (1 - 1.0 / D if f.equal_volume else 1)
                )
    flat = 1e-6 * f.total   # axes of equal variances are not determined
    for i in range(D):
        for j in range(i + 1, D):
            f.curvature[i * D + j] = fmax(fabs(f.curvature[i * D + j]), flat)


cdef inline double weight_of(Search* f, Py_ssize_t k) noexcept nogil:
    """The derivative of the objective by sum_d log t_kd"""
    return f.counts[k] * f.means[k] / f.n_features if f.equal_volume else f.counts[k]


cdef inline double conjugate_gradients(Search* f) noexcept nogil:
    """Solve Hessian step = residual, as well as the step deserves; return the decrease that is predicted"""
    # Near the minimum the relative error has the size of the step, so that convergence is quadratic.
    cdef Py_ssize_t D = f.n_features, i, j, _step
    cdef double square = 0, target, along, ratio, new, decrease = 0
    for i in range(D * D):
        f.step[i] = f.direction[i] = 0
    for i in range(D):
        for j in range(i + 1, D):
            f.direction[i * D + j] = f.residual[i * D + j] / f.curvature[i * D + j]
            f.direction[j * D + i] = -f.direction[i * D + j]
            square += f.residual[i * D + j] * f.direction[i * D + j]
    target = square * fmin(0.01, square / f.total)
    for _step in range(MOST_GRADIENTS):
        along = hessian_product(f)
        if not along > 0:   # far from a minimum: the step so far lowers the objective
            if _step == 0:
                for i in range(D * D):
                    f.step[i] = f.direction[i]
                decrease = square
            break
        ratio = square / along
        decrease += ratio * square / 2
        new = 0
        for i in range(D):
            for j in range(i + 1, D):
                f.step[i * D + j] += ratio * f.direction[i * D + j]
                f.residual[i * D + j] -= ratio * f.product[i * D + j]
                new += f.residual[i * D + j] * f.residual[i * D + j] / f.curvature[i * D + j]
        if not new > target or f.work > MOST_WORK:
            break
        ratio = new / square
        square = new
        for i in range(D):
            for j in range(i + 1, D):
                f.direction[i * D + j] = (
                    f.residual[i * D + j] / f.curvature[i * D + j] + ratio * f.direction[i * D + j]
                )
                f.direction[j * D + i] = -f.direction[i * D + j]
    return decrease


cdef inline double hessian_product(Search* f) noexcept nogil:
    """product = Hessian direction, above the diagonal; return the curvature along the direction"""
    # With A = T direction and B = T W direction, the matrix of derivatives of the terms of the second order is
    # 2 A W - B + (W A)T - 4 T diag(w_d**2 A_dd). Its entry (i, j) minus entry (j, i) is the derivative by step_ij. In
    # this difference, (W A)T may be replaced by - W A. EVE adds h sum_d 2 w_d A_dd / D.
    cdef Py_ssize_t D = f.n_features, k, i, j, d
    cdef double weight, slope, along = 0
    cdef double* T
    cdef double* w
    cdef double* A = f.A
    cdef double* B = f.B
    cdef double* c = f.inverse + f.n_components * D
    f.work += 2 * f.n_components * D * D * D
    for i in range(D * D):
        f.product[i] = 0
    for k in range(f.n_components):
        if f.empty[k]:
            continue
        weight = weight_of(f, k)
        T = f.T + k * D * D
        w = f.inverse + k * D
        for i in range(D * D):
            A[i] = B[i] = 0
        for i in range(D):
            for d in range(D):
                f.trial[d] = T[i * D + d] * w[d]
            add_rows(A + i * D, f.direction, T + i * D, 1, D, D)
            add_rows(B + i * D, f.direction, f.trial, 1, D, D)
        slope = 0
        if f.equal_volume:
            for d in range(D):
                slope += 2 * A[d * (D + 1)] * w[d] / D
        for d in range(D):
            c[d] = 2 * w[d] * (slope - 2 * A[d * (D + 1)] * w[d])
        for i in range(D):
            for j in range(D):
                f.product[i * D + j] += weight * (
                    A[i * D + j] * (2 * w[j] - w[i]) - B[i * D + j] + T[i * D + j] * c[j]
                )
    for i in range(D):
        for j in range(i + 1, D):
            f.product[i * D + j] -= f.product[j * D + i]
            along += f.direction[i * D + j] * f.product[i * D + j]
    return along


# ---- pairs of axes ----
#
# A rotation of two axes changes two entries of each t_k, whose sum stays. With half the sum a, half the difference b
# and the off-diagonal entry r of T_k, the entries after a rotation by the angle phi / 2 are a +- u, where
# u = b cos phi + r sin phi, and their product is a**2 - u**2. So the objective of one rotation is that of one angle.

cdef inline void sweep(Search* f, bint thorough) noexcept nogil:
    """Rotate each pair of axes in turn, if that lowers the objective"""
    cdef Py_ssize_t D = f.n_features, k, i, j
    cdef double phi, c, sn, product
    cdef double* t
    f.work += 4 * f.n_components * D * D * D
    for i in range(D):
        for j in range(i + 1, D):
            phi = best_angle(f, i, j, thorough)
            if phi == 0:
                continue
            c, sn = cos(phi / 2), -sin(phi / 2)
            for k in range(f.n_components):
                t = f.T + k * D * D
                product = t[i * (D + 1)] * t[j * (D + 1)]
                rotate(t, D, i, j, c, sn)
                if f.equal_volume and not f.empty[k]:
                    f.means[k] *= pow(t[i * (D + 1)] * t[j * (D + 1)] / product, 1.0 / D)
            rotate_columns(f.Q, D, i, j, c, sn)


cdef inline double best_angle(Search* f, Py_ssize_t i, Py_ssize_t j, bint thorough) noexcept nogil:
    """An angle in (-pi / 2, pi / 2] with a lower objective; 0 if there is none but for rounding

    It is the step of Newton from 0, or if `thorough`, or where that is not a minimum, the best of all angles.
    """
    cdef Py_ssize_t step, _step, best = 0
    cdef double value, low, high, middle, slope = 0, curvature = 0
    cdef double here = angle_objective(f, i, j, 0, &slope, &curvature), lowest = here
    cdef double newton = -slope / curvature if fabs(slope) < curvature else 0
    if thorough or newton == 0:
        for step in range(1, ANGLES):
            value = angle_objective(f, i, j, step * M_PI / ANGLES, &slope, &curvature)
            if value < lowest:
                lowest = value
                best = step
    if best == 0 and newton != 0:
        if fabs(newton) < 1e-8:     # its square times the curvature is below the rounding error of the objective
            return 0
        value = angle_objective(f, i, j, newton, &slope, &curvature)
        return newton if value < here else 0
    # The derivative changes its sign between the neighbours of the best of the angles. The angle need not be exact,
    # as steps of Newton follow.
    low, high = (best - 1) * M_PI / ANGLES, (best + 1) * M_PI / ANGLES
    for _step in range(BISECTIONS):
        middle = (low + high) / 2
        angle_objective(f, i, j, middle, &slope, &curvature)
        if slope > 0:
            high = middle
        else:
            low = middle
    middle = (low + high) / 2
    if middle > M_PI / 2:
        middle -= M_PI
    value = angle_objective(f, i, j, middle, &slope, &curvature)
    return middle if value < here else 0


cdef inline double angle_objective(
    Search* f, Py_ssize_t i, Py_ssize_t j, double phi, double* slope, double* curvature,
) noexcept nogil:
    """The part of the objective that a rotation by phi / 2 of two axes changes, and its two derivatives"""
    # With P = a**2 - u**2 and u'' = -u, the derivatives of log P are q = -2 u u' / P and 2 (u**2 - u'**2) / P - q**2.
    cdef Py_ssize_t D = f.n_features, k
    cdef double value = 0, a, b, r, u, du, product, g, q, dq, c = cos(phi), sn = sin(phi)
    cdef const double* t
    slope[0] = curvature[0] = 0
    for k in range(f.n_components):
        if f.empty[k]:
            continue
        t = f.T + k * D * D
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
        if f.equal_volume:
            g = f.counts[k] * f.means[k] * pow(product / (t[i * (D + 1)] * t[j * (D + 1)]), 1.0 / D)
            value += g
            slope[0] += g * q / D
            curvature[0] += g * (dq + q * q / D) / D
        else:
            value += f.counts[k] * log(product)
            slope[0] += f.counts[k] * q
            curvature[0] += f.counts[k] * dq
    return value
