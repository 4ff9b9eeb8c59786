/* The element type of a build of the kernels, and the widest vector of its instruction set.
 *
 * Cython has no vector type, so this header names one. The arithmetic on it is written in Cython. In GNU C (gcc,
 * clang), `a * b + c` on vectors works element by element, and a scalar operand is broadcast. Other compilers get
 * vectors of one element, and the same source.
 */
#ifndef GMM_CORE_VEC_H
#define GMM_CORE_VEC_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#if defined(__AVX512F__) && defined(__GNUC__)
#include <immintrin.h>
#endif

#ifdef GMM_FLOAT32
typedef float real;
#define REAL_MAX FLT_MAX
#define REAL_MIN FLT_MIN
#define REAL_EPS FLT_EPSILON
#define REAL_SQRT sqrtf
#else
typedef double real;
#define REAL_MAX DBL_MAX
#define REAL_MIN DBL_MIN
#define REAL_EPS DBL_EPSILON
#define REAL_SQRT sqrt
#endif

#ifdef GMM_CHECKS
enum { CHECKS = 1 };
#else
enum { CHECKS = 0 };
#endif

#if defined(__AVX512F__)
#define VEC_BYTES 64
#elif defined(__AVX__)
#define VEC_BYTES 32
#else
#define VEC_BYTES 16
#endif

#if defined(__GNUC__)
/* A vector may be loaded from the address of any element (aligned), and from an array of scalars (may_alias). */
typedef real vec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));
typedef double dvec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(double)), may_alias));
enum { LANES = VEC_BYTES / sizeof(real), DLANES = VEC_BYTES / sizeof(double) };
static inline vec vec_set(real a) { return (vec){0} + a; }
static inline dvec dvec_set(double a) { return (dvec){0} + a; }
typedef double dvec16 __attribute__((vector_size(16)));
typedef double dvec32 __attribute__((vector_size(32)));
/* The upper half is added to the lower half until one number is left. So the order of the sum is the same at every
 * optimisation level. */
static inline double dvec16_sum(dvec16 a) { return a[0] + a[1]; }
static inline double dvec32_sum(dvec32 a) {
    dvec16 half[2];
    memcpy(half, &a, sizeof a);
    return dvec16_sum(half[0] + half[1]);
}
static inline double dvec_sum(dvec a) {
#if VEC_BYTES == 64
    dvec32 half[2];
    memcpy(half, &a, sizeof a);
    return dvec32_sum(half[0] + half[1]);
#elif VEC_BYTES == 32
    return dvec32_sum(a);
#else
    return dvec16_sum(a);
#endif
}
#ifdef GMM_FLOAT32
typedef int32_t vec_mask __attribute__((vector_size(VEC_BYTES), may_alias));
#else
typedef int64_t vec_mask __attribute__((vector_size(VEC_BYTES), may_alias));
#endif
#ifdef GMM_FLOAT32
typedef uint32_t vec_bits __attribute__((vector_size(VEC_BYTES), may_alias));
#else
typedef uint64_t vec_bits __attribute__((vector_size(VEC_BYTES), may_alias));
#endif
/* x where a < b, else y; so y where a or b is NaN */
static inline vec vec_if_less(vec a, vec b, vec x, vec y) {
    vec_mask less = (vec_mask)(a < b);
    return (vec)(((vec_mask)x & less) | ((vec_mask)y & ~less));
}
/* whether an element of a is less than that of b */
static inline int vec_any_less(vec a, vec b) {
#if defined(__AVX512F__) && defined(GMM_FLOAT32)
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ) != 0;
#elif defined(__AVX512F__)
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ) != 0;
#else
    vec_mask less = (vec_mask)(a < b);
    int any = 0;
    for (int i = 0; i < LANES; i++) any |= less[i] != 0;
    return any;
#endif
}
/* the smaller and the larger of a and b; b where a or b is NaN */
static inline vec vec_min(vec a, vec b) {
#if defined(__AVX512F__) && defined(GMM_FLOAT32)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX512F__)
    return (vec)_mm512_min_pd((__m512d)a, (__m512d)b);
#else
    return vec_if_less(a, b, a, b);
#endif
}
static inline vec vec_max(vec a, vec b) {
#if defined(__AVX512F__) && defined(GMM_FLOAT32)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX512F__)
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#else
    return vec_if_less(b, a, a, b);
#endif
}
static inline void vec_prefetch(const void *a) { __builtin_prefetch(a); }
static inline vec vec_sqrt(vec a) {
#if defined(__AVX512F__) && defined(GMM_FLOAT32)
    return (vec)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX512F__)
    return (vec)_mm512_sqrt_pd((__m512d)a);
#else
    for (int i = 0; i < (int)LANES; i++) a[i] = REAL_SQRT(a[i]);
    return a;
#endif
}
/* e and m of a = m 2**e with 1 <= m < 2, for a positive normal number a */
static inline vec vec_exponent(vec a) {
    /* The exponent goes to the low bits of 2**FRACTION, whose last bit stands for 1. */
#ifdef GMM_FLOAT32
    return (vec)(((vec_bits)a >> 23) | 0x4b000000) - (8388608.0f + 127);
#else
    return (vec)(((vec_bits)a >> 52) | 0x4330000000000000) - (4503599627370496.0 + 1023);
#endif
}
static inline vec vec_mantissa(vec a) {
#ifdef GMM_FLOAT32
    return (vec)(((vec_mask)a & 0x007fffff) | 0x3f800000);
#else
    return (vec)(((vec_mask)a & 0x000fffffffffffff) | 0x3ff0000000000000);
#endif
}
/* a[at[0]], a[at[1]], … for LANES places */
static inline vec vec_gather(const real *a, const ptrdiff_t *at) {
    vec out;
    for (int i = 0; i < (int)LANES; i++) out[i] = a[at[i]];
    return out;
}
/* a 2**n, rounded once, for a normal number a and an integer n from -1100 (for float -200) to 0 */
static inline vec vec_scale(vec a, vec n) {
#if defined(__AVX512F__) && defined(GMM_FLOAT32)
    return (vec)_mm512_scalef_ps((__m512)a, (__m512)n);
#elif defined(__AVX512F__)
    return (vec)_mm512_scalef_pd((__m512d)a, (__m512d)n);
#else
    /* The product is taken in two steps of about 2**(n/2), as n may be below the least exponent of a normal number.
     * Adding 1.5 * 2**FRACTION, whose last bit stands for 1, rounds to an integer and puts it into the low bits. */
#ifdef GMM_FLOAT32
    enum { BIAS = 127, FRACTION = 23 };
    const real magic = 12582912.0f;
#else
    enum { BIAS = 1023, FRACTION = 52 };
    const real magic = 6755399441055744.0;
#endif
    vec half = n * (real)0.5 + magic, rest = (n - (half - magic)) + magic;
    return a * (vec)(((vec_bits)half + BIAS) << FRACTION) * (vec)(((vec_bits)rest + BIAS) << FRACTION);
#endif
}
/* a vector of doubles whose sum is the sum of a */
static inline dvec vec_to_dvec(vec a) {
#ifdef GMM_FLOAT32
    typedef float half_vec __attribute__((vector_size(VEC_BYTES / 2)));
    half_vec half[2];
    memcpy(half, &a, sizeof a);
    return __builtin_convertvector(half[0], dvec) + __builtin_convertvector(half[1], dvec);
#else
    return a;
#endif
}
static inline double vec_sum(vec a) { return dvec_sum(vec_to_dvec(a)); }
/* a vector of doubles whose sum is the sum of a b, with products in double precision */
static inline dvec vec_product(vec a, vec b) {
#ifdef GMM_FLOAT32
    typedef float half_vec __attribute__((vector_size(VEC_BYTES / 2)));
    half_vec x[2], y[2];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    return __builtin_convertvector(x[0], dvec) * __builtin_convertvector(y[0], dvec)
        + __builtin_convertvector(x[1], dvec) * __builtin_convertvector(y[1], dvec);
#else
    return a * b;
#endif
}
/* Vectors of floats in both builds, for distances that need few digits. */
typedef float fvec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(float)), may_alias));
typedef int32_t ivec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(int32_t)), may_alias));
enum { FLANES = VEC_BYTES / sizeof(float) };
static inline fvec fvec_set(float a) { return (fvec){0} + a; }
static inline ivec ivec_set(int a) { return (ivec){0} + a; }
/* the smaller of best and a, where the last bits of a (which is not negative) are replaced by a number up to 4095 */
static inline ivec least_numbered(ivec best, fvec a, ivec number) {
    ivec numbered = ((ivec)a & ~4095) | number;
#if defined(__AVX512F__)
    return (ivec)_mm512_min_epi32((__m512i)numbered, (__m512i)best);
#else
    ivec less = numbered < best;
    return (numbered & less) | (best & ~less);
#endif
}
/* out = the integer parts of elements, cut to 0 ... 255; 0 for a NaN */
static inline void fvec_to_bytes(fvec a, unsigned char *out) {
    typedef unsigned char bytes __attribute__((vector_size(VEC_BYTES / 4)));
    bytes b;
#if defined(__AVX512F__)
    __m512i cut = _mm512_cvttps_epi32(_mm512_min_ps(_mm512_set1_ps(255), (__m512)a));
    b = (bytes)_mm512_cvtepi32_epi8(_mm512_max_epi32(cut, _mm512_setzero_si512()));
#else
    ivec positive = a > 0, small = a < 255;
    fvec cut = (fvec)(((ivec)a & small) | ((ivec)fvec_set(255) & ~small));
    b = __builtin_convertvector(__builtin_convertvector((fvec)((ivec)cut & positive), ivec), bytes);
#endif
    memcpy(out, &b, sizeof b);
}
/* whether rows[i][at + j] <= limits[i] for any of n rows, for each j < 16 */
typedef unsigned char bytes16 __attribute__((vector_size(16), aligned(1), may_alias));
static inline void any_at_most(
    const unsigned char *const *rows, const unsigned char *limits, ptrdiff_t n, ptrdiff_t at, unsigned char *out) {
    bytes16 any = {0};
    for (ptrdiff_t i = 0; i < n; i++) any |= (bytes16)(*(const bytes16 *)(rows[i] + at) <= limits[i]);
    *(bytes16 *)out = any & 1;
}
#else
typedef real vec;
typedef double dvec;
typedef float fvec;
typedef int32_t ivec;
enum { FLANES = 1 };
static inline fvec fvec_set(float a) { return a; }
static inline ivec ivec_set(int a) { return a; }
static inline ivec least_numbered(ivec best, fvec a, ivec number) {
    ivec numbered;
    memcpy(&numbered, &a, sizeof a);
    numbered = (numbered & ~4095) | number;
    return numbered < best ? numbered : best;
}
static inline void any_at_most(
    const unsigned char *const *rows, const unsigned char *limits, ptrdiff_t n, ptrdiff_t at, unsigned char *out) {
    for (int j = 0; j < 16; j++) {
        out[j] = 0;
        for (ptrdiff_t i = 0; i < n; i++) out[j] |= rows[i][at + j] <= limits[i];
    }
}
static inline void fvec_to_bytes(fvec a, unsigned char *out) { *out = (unsigned char)(a > 0 ? a < 255 ? a : 255 : 0); }
enum { LANES = 1, DLANES = 1 };
static inline vec vec_set(real a) { return a; }
static inline dvec dvec_set(double a) { return a; }
static inline double dvec_sum(dvec a) { return a; }
static inline double vec_sum(vec a) { return a; }
static inline vec vec_min(vec a, vec b) { return a < b ? a : b; }
static inline vec vec_max(vec a, vec b) { return b < a ? a : b; }
static inline void vec_prefetch(const void *a) { (void)a; }
static inline vec vec_sqrt(vec a) { return REAL_SQRT(a); }
static inline vec vec_scale(vec a, vec n) { return (real)ldexp(a, (int)n); }
static inline dvec vec_product(vec a, vec b) { return (double)a * b; }
static inline vec vec_exponent(vec a) { int e; (void)frexp(a, &e); return (real)(e - 1); }
static inline vec vec_mantissa(vec a) { int e; return (real)(2 * frexp(a, &e)); }
static inline vec vec_gather(const real *a, const ptrdiff_t *at) { return a[at[0]]; }
static inline vec vec_if_less(vec a, vec b, vec x, vec y) { return a < b ? x : y; }
static inline int vec_any_less(vec a, vec b) { return a < b; }
#endif

/* out[0:4] += the sums of a, b, c and d. Neighbours are added while the vectors are interleaved, so that the four
 * sums together cost little more than one. */
#if VEC_BYTES == 64 && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 12)
static inline void vec_sums(vec a, vec b, vec c, vec d, double *out) {
    dvec32 half[2], target;
#ifdef GMM_FLOAT32
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, \
    i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, l + 8, i + 12, j + 12, k + 12, l + 12)
    vec ab = SHUFFLE(a, b, 0, 16, 1, 17) + SHUFFLE(a, b, 2, 18, 3, 19);
    vec cd = SHUFFLE(c, d, 0, 16, 1, 17) + SHUFFLE(c, d, 2, 18, 3, 19);
    dvec abcd = vec_to_dvec(SHUFFLE(ab, cd, 0, 1, 16, 17) + SHUFFLE(ab, cd, 2, 3, 18, 19));
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l, i + 4, j + 4, k + 4, l + 4)
    vec ab = SHUFFLE(a, b, 0, 8, 2, 10) + SHUFFLE(a, b, 1, 9, 3, 11);
    vec cd = SHUFFLE(c, d, 0, 8, 2, 10) + SHUFFLE(c, d, 1, 9, 3, 11);
    dvec abcd = SHUFFLE(ab, cd, 0, 1, 8, 9) + SHUFFLE(ab, cd, 2, 3, 10, 11);
#endif
#undef SHUFFLE
    memcpy(half, &abcd, sizeof abcd);
    memcpy(&target, out, sizeof target);
    target = target + (half[0] + half[1]);
    memcpy(out, &target, sizeof target);
}
#else
static inline void vec_sums(vec a, vec b, vec c, vec d, double *out) {
    out[0] += vec_sum(a);
    out[1] += vec_sum(b);
    out[2] += vec_sum(c);
    out[3] += vec_sum(d);
}
#endif

/* Transpose a block of LANES rows and columns: out[d][i] = a[i][d], or a[index[i]][d] unless index is NULL. The block is
 * seen as 2 x 2 blocks of size s for s = 1, 2, 4, … in turn. Stage s takes pairs of rows that are s apart, and swaps the
 * off-diagonal blocks. */
#if defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 12)
#define LOWER(j, s) ((j) & (s) ? LANES + (j) - (s) : (j))
#define SAME(j, s) (j)
#define UPPER(j, s) ((j) & (s) ? LANES + (j) : (j) + (s))
#define INDICES_2(F, j, s) F(j, s), F(j + 1, s)
#define INDICES_4(F, j, s) INDICES_2(F, j, s), INDICES_2(F, j + 2, s)
#define INDICES_8(F, j, s) INDICES_4(F, j, s), INDICES_4(F, j + 4, s)
#define INDICES_16(F, j, s) INDICES_8(F, j, s), INDICES_8(F, j + 8, s)
#ifdef GMM_FLOAT32
#define VEC_LANES (VEC_BYTES / 4)
#else
#define VEC_LANES (VEC_BYTES / 8)
#endif
#if VEC_LANES == 16
#define INDICES INDICES_16
#elif VEC_LANES == 8
#define INDICES INDICES_8
#elif VEC_LANES == 4
#define INDICES INDICES_4
#else
#define INDICES INDICES_2
#endif
#define STAGE(s, n) \
    for (int i = 0; i < (n); i++) { \
        if (!(i & s)) { \
            vec lower = __builtin_shufflevector(row[i], row[i + s], INDICES(LOWER, 0, s)); \
            row[i + s] = __builtin_shufflevector(row[i], row[i + s], INDICES(UPPER, 0, s)); \
            row[i] = lower; \
        } \
    }
static inline void vec_transpose_some(
    const real *a, const unsigned short *index, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    vec row[LANES];
    for (int i = 0; i < LANES; i++) row[i] = *(const vec *)(a + (index ? index[i] : i) * stride);
    STAGE(1, LANES)
#if VEC_LANES > 2
    STAGE(2, LANES)
#endif
#if VEC_LANES > 4
    STAGE(4, LANES)
#endif
#if VEC_LANES > 8
    STAGE(8, LANES)
#endif
    for (int i = 0; i < LANES; i++) *(vec *)(out + i * out_stride) = row[i];
}
/* Transpose a block of LANES rows and LANES / 2 columns. A vector holds two rows, which are LANES / 2 apart. */
static inline void vec_transpose_half_some(
    const real *a, const unsigned short *index, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    enum { HALF = LANES / 2 };
    vec row[HALF];
#define ROW(i) (a + (index ? index[i] : (i)) * stride)
#if VEC_LANES == 2
    row[0] = (vec){*ROW(0), *ROW(1)};
#else
    typedef real half_vec __attribute__((vector_size(VEC_BYTES / 2), aligned(sizeof(real)), may_alias));
    for (int i = 0; i < HALF; i++)
        row[i] = __builtin_shufflevector(
            *(const half_vec *)ROW(i), *(const half_vec *)ROW(i + HALF), INDICES(SAME, 0, 0));
#endif
#undef ROW
#if VEC_LANES > 2
    STAGE(1, HALF)
#endif
#if VEC_LANES > 4
    STAGE(2, HALF)
#endif
#if VEC_LANES > 8
    STAGE(4, HALF)
#endif
    for (int i = 0; i < HALF; i++) *(vec *)(out + i * out_stride) = row[i];
}
#else
static inline void vec_transpose_some(
    const real *a, const unsigned short *index, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    for (int d = 0; d < LANES; d++)
        for (int i = 0; i < LANES; i++) out[d * out_stride + i] = a[(index ? index[i] : i) * stride + d];
}
static inline void vec_transpose_half_some(
    const real *a, const unsigned short *index, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    for (int d = 0; d < LANES / 2; d++)
        for (int i = 0; i < LANES; i++) out[d * out_stride + i] = a[(index ? index[i] : i) * stride + d];
}
#endif
static inline void vec_transpose(const real *a, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    vec_transpose_some(a, NULL, stride, out, out_stride);
}

/* Ask for n doubles, which are going to be added to, to be brought into the first-level cache. */
static inline void prefetch(const double *a, ptrdiff_t n) {
#if defined(__GNUC__)
    for (ptrdiff_t i = 0; i < n + 7; i += 8) __builtin_prefetch(a + i, 1);
#else
    (void)a, (void)n;
#endif
}

/* Number of samples in a panel. Two vectors of samples and four rows of a factor make eight independent sums. */
enum { WIDTH = 2 * LANES };

/* Samples that share a bound (see regions.pxd), and panels in such a group. */
enum { GROUP = WIDTH < 16 ? 16 : WIDTH, GROUP_PANELS = GROUP / WIDTH };
/* Number of rows of a product of matrices that are computed at once, with up to three vectors of columns. With the three
 * vectors of a row of the second factor, the sums fit into the 32 or 16 registers. */
enum { ROWS = VEC_BYTES == 64 ? 8 : 4 };

static inline uint64_t bits_of_double(double a) { uint64_t b; memcpy(&b, &a, 8); return b; }
static inline double double_of_bits(uint64_t b) { double a; memcpy(&a, &b, 8); return a; }

#endif
