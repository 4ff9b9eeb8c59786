"""The digamma function and the logarithm of the gamma function, for positive numbers.

For x >= 10, both are log(x) and an asymptotic series (Abramowitz & Stegun 6.3.18 and 6.1.41). For x < 10, the
recurrences psi(x + 1) = psi(x) + 1/x and log Gamma(x + 1) = log Gamma(x) + log(x) lead to x = 1 + f with 0 <= f < 1.
There, the zeros are factors of

    psi(1 + f) = (f - a) (1 + P(f - a)), where 1 + a = 1.4616... is the zero of psi,
    log Gamma(1 + f) = f (f - 1) (1/2 + Q(f - 1/2)),

and P and Q, which are small, are polynomials. The errors are below 2 ulp everywhere, also near the zeros.

A number that has to be more accurate than a double is the sum (h, t) of a head and a tail. The head that head() returns
has 26 significant bits, so that the product of two such heads is exact, and so is that of a head and x - head(x).
Wherever a rounding error is added to a tail, the products are exact. So the compiler may contract a product and a sum
to one operation. It must not use -fassociative-math.
"""
from libc.math cimport INFINITY, NAN, log

from layout cimport bits_of_double, double_of_bits

cdef extern from * nogil:
    """
    /* P and Q are those of mpmath at 60 digits, lowest powers first, with errors below 1e-18. With
     * a = findroot(digamma, 1.46) - 1 and x = 3/2 + t, they are
     *     chebyfit(lambda t: digamma(1 + a + t) / t - 1, [-a, 1 - a], 24) and
     *     chebyfit(lambda t: loggamma(x) / ((x - 1) * (x - 2)) - 0.5, [-0.50001, 0.50001], 22).
     * The second interval is a little larger than needed, because there is 0 / 0 at t = 1/2. The zero a is the sum of
     * two numbers. */
    static const double gmm_digamma_zero[2] = {0.46163214496836236, -1.5522348162858677e-17};
    static const double gmm_digamma_p[24] = {
        -0.03232775455237883, -0.44276316898359214, 0.2584997609556509, -0.16394270544239933, 0.10782405069127954,
        -0.07219956125728176, 0.04880428816323914, -0.033161126430834756, 0.022597648248248545,
        -0.015424767205798105, 0.010538791788919843, -0.0072045109574719185, 0.004926769418388227,
        -0.0033700709071922902, 0.0023053483271584774, -0.0015749355480831084, 0.0010766128230576774,
        -0.000747499595599249, 0.0005180490833340102, -0.0003193696671207108, 0.00019075640343160688,
        -0.00019476490125987326, 0.00019426548768522768, -8.153978973309418e-05
    };
    static const double gmm_log_gamma_q[22] = {
        -0.01687104945901911, -0.14595989591430608, 0.06291140107456439, -0.031308487501010646,
        0.016797098631274193, -0.009425622448525819, 0.005446457839124196, -0.0032120740737140827,
        0.001922916312842973, -0.0011644145847646632, 0.0007115190666738464, -0.0004379930742563512,
        0.00027131374679219543, -0.00016891782679851698, 0.00010535507585483539, -6.614132880058053e-05,
        4.3027858145793995e-05, -2.7201786346866964e-05, 1.3185667535868504e-05, -8.354850353904574e-06,
        1.2140304534344098e-05, -7.7608503297446e-06
    };
    /* The numbers B(2k) / (2k) and B(2k) / (2k (2k - 1)) for k = 1, 2, ..., where B are Bernoulli's numbers */
    static const double gmm_digamma_series[8] = {
        1.0 / 12, -1.0 / 120, 1.0 / 252, -1.0 / 240, 1.0 / 132, -691.0 / 32760, 1.0 / 12, -3617.0 / 8160
    };
    static const double gmm_log_gamma_series[8] = {
        1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156, -3617.0 / 122400
    };
    /* log((1 + s) / (1 - s)) = 2 s + s**3 (c[0] + c[1] s**2 + ...) */
    static const double gmm_log_series[10] = {
        2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21
    };
    """
    const double[2] gmm_digamma_zero
    const double[24] gmm_digamma_p
    const double[22] gmm_log_gamma_q
    const double[8] gmm_digamma_series
    const double[8] gmm_log_gamma_series
    const double[10] gmm_log_series


cdef inline double polynomial(const double* c, Py_ssize_t n, double x) noexcept nogil:
    """Return c[0] + c[1] x + ... + c[n - 1] x**(n - 1) for an even n"""
    # The odd and even powers are summed apart, because two chains of multiply-adds take half as long as one.
    cdef double square = x * x, even = 0, odd = 0
    cdef Py_ssize_t i
    for i in range(n - 2, -1, -2):
        even = even * square + c[i]
        odd = odd * square + c[i + 1]
    return even + odd * x


cdef inline double head(double x) noexcept nogil:
    """Return x without the lower 27 of its 53 significant bits"""
    return double_of_bits(bits_of_double(x) & ~0x7ffffffULL)


cdef inline void add(double* h, double* t, double a, double b) noexcept nogil:
    """(h, t) += (a, b). The rounding error of the new h is added to t"""
    cdef double total = h[0] + a
    cdef double added = total - h[0]
    t[0] += ((h[0] - (total - added)) + (a - added)) + b
    h[0] = total


cdef inline void multiply(double* h, double* t, double x) noexcept nogil:
    """(h, t) *= x, where h has 26 bits before and after"""
    cdef double x_head = head(x), product = head((h[0] + t[0]) * x)
    t[0] = ((h[0] * x_head - product) + h[0] * (x - x_head)) + t[0] * x
    h[0] = product


cdef inline double reciprocal_parts(double x, double* tail) noexcept nogil:
    """Return the head of 1/x and write its tail"""
    # 1/x = h + (1 - h x) / x
    cdef double x_head = head(x), y = 1 / x
    cdef double h = head(y)
    tail[0] = ((1 - h * x_head) - h * (x - x_head)) * y
    return h


cdef inline double log_parts(double x, double* tail) noexcept nogil:
    """Return the head of log(x) for a finite x >= 2**-1022, and write its tail"""
    # The reduction, and the formula log(m) = f - (f**2/2 - s (f**2/2 + s**2 Q(s**2))), are those of log_positive in
    # vmath.pxd. f - f**2/2 is kept as a head and a tail, because its rounding would be the largest error.
    cdef unsigned long long bits = bits_of_double(x) + (0x3ff0000000000000ULL - 0x3fe6a09e00000000ULL)
    cdef double e = double_of_bits((bits >> 52) | 0x4330000000000000ULL) - (4503599627370496.0 + 1023.0)
    cdef double f = double_of_bits((bits & 0x000fffffffffffffULL) + 0x3fe6a09e00000000ULL) - 1.0
    cdef double s = f / (2.0 + f)
    cdef double z = s * s
    cdef double half_square = 0.5 * f * f
    cdef double log_m = head(f - half_square)
    cdef double h = e * 0.6931471803691238      # the first 32 bits of log(2), so that the product is exact
    cdef double t = e * 1.9082149292705877e-10
    add(&h, &t, log_m, ((f - log_m) - half_square) + s * (half_square + z * polynomial(gmm_log_series, 10, z)))
    log_m = head(h + t)
    tail[0] = (h - log_m) + t
    return log_m


cdef inline double digamma(double x) noexcept nogil:
    """Return psi(x) for x > 0, -inf for 0, and NaN for NaN and for negative x"""
    cdef double f = x - 1, h = 0, t = 0, a, b, y
    if x >= 10:
        if x == INFINITY:
            return x
        h = log_parts(x, &t)
        y = 1 / x
        return h + (t - (0.5 * y + y * y * polynomial(gmm_digamma_series, 8, y * y)))
    if not x >= 2.0 ** -57:
        if x > 0:
            return -1 / x
        return -INFINITY if x == 0 else NAN
    if x < 1:
        f = x
        a = reciprocal_parts(x, &b)
        add(&h, &t, -a, -b)
    while f >= 1:
        a = reciprocal_parts(f, &b)
        add(&h, &t, a, b)
        f -= 1
    # psi(1 + f) = (f + b) (1 + P(f + b)), after the zero is subtracted from f
    b = -gmm_digamma_zero[1]
    add(&f, &b, -gmm_digamma_zero[0], 0)
    add(&h, &t, f, b + (f + b) * polynomial(gmm_digamma_p, 24, f))
    return h + t


cdef inline double log_gamma(double x) noexcept nogil:
    """Return log Gamma(x) for x > 0, inf for 0, and NaN for NaN and for negative x"""
    cdef double f = x - 1, h, t, a, b, y, p = 1, p_tail = 0
    if x >= 10:
        if x == INFINITY:
            return x
        # log Gamma(x) = x (log(x) - 1) - log(x) / 2 + log(2 pi) / 2 + 1 / (12 x) - ..., and a + b = log(x) - 1
        a = log_parts(x, &b) - 1
        y = 1 / x
        h = head(x)
        t = (0.9189385332046728 - 0.5 * (1 + a + b)) + y * polynomial(gmm_log_gamma_series, 8, y * y)
        return h * a + ((x - h) * a + (x * b + t))
    if not x >= 2.0 ** -57:
        if x > 0:
            return -log(x)
        return INFINITY if x == 0 else NAN
    if x < 1:
        f = p = x
    while f >= 1:
        multiply(&p, &p_tail, f)
        f -= 1
    a = head(f)
    b = f - a
    multiply(&a, &b, f - 1)     # a + b = f (f - 1)
    h = 0.5 * a
    t = 0.5 * b + (a + b) * polynomial(gmm_log_gamma_q, 22, f - 0.5)
    y = p + p_tail
    if y != 1:      # log Gamma(x) = log Gamma(1 + f) + log(p), or - log(p) for p = x < 1
        a = log_parts(y, &b)
        b += ((p - y) + p_tail) / y
        if x < 1:
            a = -a
            b = -b
        add(&h, &t, a, b)
    return h + t
