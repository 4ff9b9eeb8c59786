"""exp of vectors, and log of scalars without branches, so that the compiler makes vector code of a loop over it.

The errors are below 2 ulp. Both functions rely on the exact order of operations (rounding by a magic number, Cody-Waite
reduction), so the sources that use them are never compiled with -fassociative-math.
"""
from layout cimport bits_of_double, double_of_bits, real, vec, vec_if_less, vec_scale, vec_set

cdef extern from "vec.h" nogil:
    vec vec_exponent(vec a)
    vec vec_mantissa(vec a)


cdef inline vec exp_nonpositive(vec x) noexcept nogil:
    """Return exp(x) for x <= 0 and for -inf, and 0 for a NaN"""
    # x = n log 2 + r with an integer n and |r| <= log(2) / 2. Adding 1.5 * 2**52 (for float 1.5 * 2**23) and
    # subtracting it again rounds to an integer. exp(r) = 1 + r + r**2 P(r), where P is a near-minimax polynomial of
    # error 1.3e-17. Its odd and even powers are summed apart, because two chains of multiply-adds take half as long
    # as one. The product with 2**n is rounded once, also if it is below 2**-1022.
    cdef vec a, n, r, square, odd, even
    if sizeof(real) == 4:
        return exp_nonpositive_f32(x)
    a = vec_if_less(vec_set(<real> -746), x, x, vec_set(<real> -746))
    n = (a * <real> 1.4426950408889634 + <real> 6755399441055744.0) - <real> 6755399441055744.0
    r = (a - n * <real> 0.693147180559663) - n * <real> 2.8235290563031577e-13
    square = r * r
    odd = square * <real> 2.510038549551032e-08 + <real> 2.7557268459997064e-06
    odd = odd * square + <real> 0.00019841269863053618
    odd = odd * square + <real> 0.008333333333330062
    odd = odd * square + <real> 0.16666666666666669
    even = square * <real> 2.7620088445409746e-07 + <real> 2.4801521295954376e-05
    even = even * square + <real> 0.0013888888917213717
    even = even * square + <real> 0.04166666666662413
    even = even * square + <real> 0.5
    return vec_scale((odd * r + even) * square + r + <real> 1, n)


cdef inline vec exp_nonpositive_f32(vec x) noexcept nogil:
    """exp_nonpositive in single precision, with P of degree 4"""
    cdef vec a = vec_if_less(vec_set(<real> -104), x, x, vec_set(<real> -104))
    cdef vec n = (a * <real> 1.4426950408889634 + <real> 12582912) - <real> 12582912
    cdef vec r = (a - n * <real> 0.693359375) + n * <real> 0.00021219444005469057
    cdef vec square = r * r
    cdef vec odd = square * <real> 0.008363179052722578 + <real> 0.16666576970
    cdef vec even = square * <real> 0.0013926183587713494 + <real> 0.041666554617204574
    even = even * square + <real> 0.5
    return vec_scale((odd * r + even) * square + r + <real> 1, n)


cdef inline double log_positive(double x) noexcept nogil:
    """Return log(x) for a finite x >= 2**-1022"""
    # x = 2**e m with sqrt(1/2) < m < sqrt(2). Let f = m - 1 and s = f / (2 + f). Then
    # log(m) = log((1 + s) / (1 - s)) = 2 s + s**3 Q(s**2) = f - (f**2/2 - s (f**2/2 + s**2 Q(s**2))).
    # The last form keeps all digits, because f is exact (see Muller, Elementary Functions, 3rd ed.).
    cdef unsigned long long bits = bits_of_double(x) + (0x3ff0000000000000ULL - 0x3fe6a09e00000000ULL)
    cdef double e = double_of_bits((bits >> 52) | 0x4330000000000000ULL) - (4503599627370496.0 + 1023.0)
    cdef double f = double_of_bits((bits & 0x000fffffffffffffULL) + 0x3fe6a09e00000000ULL) - 1.0
    cdef double s = f / (2.0 + f)
    cdef double z = s * s
    cdef double half_square = 0.5 * f * f
    cdef double q = 0.13086767009948175
    q = q * z + 0.13268759668560612
    q = q * z + 0.15386240205813478
    q = q * z + 0.18181795630884753
    q = q * z + 0.2222222239180047
    q = q * z + 0.2857142857080323
    q = q * z + 0.4000000000000088
    q = q * z + 0.6666666666666666
    return e * 0.693147180559663 + (
        (f - (half_square - s * (half_square + z * q))) + e * 2.8235290563031577e-13
    )


cdef inline vec log_vector(vec x) noexcept nogil:
    """log_positive for a vector of doubles"""
    cdef vec m = vec_mantissa(x), e = vec_exponent(x), half = m * <real> 0.5
    cdef vec f, s, z, half_square, q
    e = vec_if_less(vec_set(<real> 1.4142135623730951), m, e + 1, e)
    f = vec_if_less(vec_set(<real> 1.4142135623730951), m, half, m) - 1
    s = f / (f + 2)
    z = s * s
    half_square = <real> 0.5 * f * f
    q = z * <real> 0.13086767009948175 + <real> 0.13268759668560612
    q = q * z + <real> 0.15386240205813478
    q = q * z + <real> 0.18181795630884753
    q = q * z + <real> 0.2222222239180047
    q = q * z + <real> 0.2857142857080323
    q = q * z + <real> 0.4000000000000088
    q = q * z + <real> 0.6666666666666666
    return e * <real> 0.693147180559663 + (
        (f - (half_square - s * (half_square + z * q))) + e * <real> 2.8235290563031577e-13
    )
