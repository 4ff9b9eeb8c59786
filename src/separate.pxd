"""Samples with missing values, or with noise of known variances, for components whose features are independent.

With the variance v and the noise s of a feature, T = v + s and z = x - mu: the value without noise has the mean
mu + z v / T and the variance v s / T given the value with noise; a missing value has the mean mu and the variance v.
"""
from libc.math cimport M_PI, log

from layout cimport real, vec, vec_set, WIDTH
from rowpanel cimport RowMixture, RowPanel
from vmath cimport log_vector

cdef extern from "vec.h" nogil:
    vec vec_exponent(vec a)
    vec vec_mantissa(vec a)
    vec vec_min(vec a, vec b)

# The units are the standard deviations of the component.


cdef inline void prepare_separate(const double* precision, real* unit, real* log_missing, Py_ssize_t D) noexcept nogil:
    """Write what the other functions read of a component with reciprocal standard deviations `precision`"""
    cdef Py_ssize_t d
    for d in range(D):
        unit[d] = <real> precision[d]
        log_missing[d] = <real> (0.5 * log(2 * M_PI) - log(precision[d]))


cdef inline vec noise_in_units(vec noise, real unit) noexcept nogil:
    """Return s / v, or a number that stands for infinity and that can be divided by itself"""
    return vec_min(noise * unit * unit, vec_set(<real> 4e307))


cdef inline void separate_log_prob(
    const RowMixture* m, const RowPanel* panel, bint noisy, Py_ssize_t k, real* log_prob,
) noexcept nogil:
    """Write the weighted log-probabilities (WIDTH,) of component k"""
    cdef const vec* x = <const vec*> panel.x
    cdef const vec* known = <const vec*> panel.known
    cdef const vec* noise = <const vec*> panel.noise
    cdef const real* mean = m.mean + k * m.D
    cdef const real* unit = m.unit + k * m.D
    cdef const real* log_missing = m.log_missing + k * m.D
    cdef vec distance[2]
    cdef vec constant[2]
    cdef vec product[2]
    cdef vec exponent[2]
    cdef vec z, t
    cdef Py_ssize_t d, v, at
    for v in range(2):
        distance[v] = exponent[v] = vec_set(0)
        product[v] = vec_set(1)
        constant[v] = vec_set(m.log_constant[k])
    for d in range(m.D):
        for v in range(2):
            at = 2 * d + v
            z = (x[at] - mean[d]) * unit[d] * known[at]
            constant[v] = constant[v] + (1 - known[at]) * log_missing[d]
            if noisy:
                t = noise_in_units(noise[at], unit[d]) + 1
                distance[v] = distance[v] + z * z / t
                product[v] = product[v] * vec_mantissa(t)
                exponent[v] = exponent[v] + vec_exponent(t)
            else:
                distance[v] = distance[v] + z * z
        if d % 512 == 511 and noisy:
            for v in range(2):
                exponent[v] = exponent[v] + vec_exponent(product[v])
                product[v] = vec_mantissa(product[v])
    if noisy:
        for v in range(2):
            distance[v] = distance[v] + log_vector(product[v]) + exponent[v] * <real> 0.6931471805599453
    for v in range(2):
        (<vec*> log_prob)[v] = constant[v] - <real> 0.5 * distance[v]


cdef inline void add_separate(
    const RowMixture* m, const RowPanel* panel, bint noisy, Py_ssize_t k, const real* r, real* count, real* first,
    real* second,
) noexcept nogil:
    """Add r, r e and r (e**2 + the variance of the value without noise) to sums of component k, with e = z v / T.

    The sums have LANES reals for each entry.
    """
    cdef const vec* x = <const vec*> panel.x
    cdef const vec* known = <const vec*> panel.known
    cdef const vec* noise = <const vec*> panel.noise
    cdef const real* mean = m.mean + k * m.D
    cdef const real* unit = m.unit + k * m.D
    cdef vec* sums = <vec*> first
    cdef vec* squares = <vec*> second
    cdef vec e, s, f
    cdef vec a[2]
    cdef vec b[2]
    cdef Py_ssize_t d, v, at
    (<vec*> count)[0] = (<vec*> count)[0] + ((<const vec*> r)[0] + (<const vec*> r)[1])
    for d in range(m.D):
        for v in range(2):
            at = 2 * d + v
            e = (x[at] - mean[d]) * unit[d] * known[at]
            s = 1 - known[at]
            if noisy:
                f = noise_in_units(noise[at], unit[d])
                e = e / (f + 1)
                s = s + f / (f + 1)
            a[v] = (<const vec*> r)[v] * e
            b[v] = a[v] * e + (<const vec*> r)[v] * s
        sums[d] = sums[d] + (a[0] + a[1])
        squares[d] = squares[d] + (b[0] + b[1])
