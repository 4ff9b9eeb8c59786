"""exp and log as straight-line arithmetic, so that loops over them become vector code.

Both rest on exact steps (magic-number rounding, Cody-Waite reduction) that -fassociative-math
would fold away: the sources that use them are never compiled with it. Errors stay below 2 ulp.
"""
from layout cimport bits_of_double, double_of_bits, bits_of_float, float_of_bits, real


cdef inline double exp_nonpositive_f64(double x) noexcept nogil:
    """exp(x) for x <= 0, -inf included; a NaN gives 0."""
    # x = n log 2 + r, |r| <= log(2) / 2. Adding 1.5 * 2**52 rounds to an integer and leaves it in
    # the low bits. exp(r) = 1 + r + r**2 P(r), P near-minimax (1.3e-17). The scale 2**n is applied
    # in two halves, as n < -1022 is not a normal number's exponent: the last product rounds once.
    cdef double magic = 6755399441055744.0
    cdef double a = x if x > -746.0 else -746.0
    cdef double shifted = a * 1.4426950408889634 + magic
    cdef double n = shifted - magic
    cdef double r = (a - n * 0.693147180559663) - n * 2.8235290563031577e-13
    cdef double half = n * 0.5 + magic
    cdef double rest = (n - (half - magic)) + magic
    cdef double p = 2.510038549551032e-08
    p = p * r + 2.7620088445409746e-07
    p = p * r + 2.7557268459997064e-06
    p = p * r + 2.4801521295954376e-05
    p = p * r + 0.00019841269863053618
    p = p * r + 0.0013888888917213717
    p = p * r + 0.008333333333330062
    p = p * r + 0.04166666666662413
    p = p * r + 0.16666666666666669
    p = p * r + 0.5
    p = (p * r) * r + r + 1.0
    p = p * double_of_bits((bits_of_double(half) + 1023) << 52)
    return p * double_of_bits((bits_of_double(rest) + 1023) << 52)


cdef inline float exp_nonpositive_f32(float x) noexcept nogil:
    """exp(x) for x <= 0, -inf included; a NaN gives 0. As the double, with P of degree 4."""
    cdef float magic = <float> 12582912.0
    cdef float a = x if x > <float> -104.0 else <float> -104.0
    cdef float shifted = a * <float> 1.4426950408889634 + magic
    cdef float n = shifted - magic
    cdef float r = (a - n * <float> 0.693359375) + n * <float> 0.00021219444005469057
    cdef float half = n * <float> 0.5 + magic
    cdef float rest = (n - (half - magic)) + magic
    cdef float p = <float> 0.0013926183587713494
    p = p * r + <float> 0.008363179052722578
    p = p * r + <float> 0.041666554617204574
    p = p * r + <float> 0.16666576970
    p = p * r + <float> 0.5
    p = (p * r) * r + r + <float> 1.0
    p = p * float_of_bits((bits_of_float(half) + 127) << 23)
    return p * float_of_bits((bits_of_float(rest) + 127) << 23)


cdef inline real exp_nonpositive(real x) noexcept nogil:
    if sizeof(real) == 4:
        return <real> exp_nonpositive_f32(<float> x)
    return <real> exp_nonpositive_f64(<double> x)


cdef inline double log_positive(double x) noexcept nogil:
    """log(x) for a finite x >= 2**-1022."""
    # x = 2**e m, sqrt(1/2) < m < sqrt(2); with f = m - 1 and s = f / (2 + f),
    # log(m) = log((1 + s) / (1 - s)) = 2 s + s**3 Q(s**2) = f - (f**2/2 - s (f**2/2 + s**2 Q(s**2))),
    # which loses nothing as f is exact (the usual arrangement; see Muller, Elementary Functions, 3rd ed.).
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
