/* The element type of one build of the kernels, and the widest vector that its instruction set has.
 *
 * Cython has no vector type, so this header names one; all arithmetic on it is written in Cython.
 * `a * b + c` on vectors of the GNU C dialect (gcc, clang) is element by element, a scalar operand is
 * broadcast. A compiler without the dialect gets vectors of one element and the same source.
 */
#ifndef GMM_CORE_VEC_H
#define GMM_CORE_VEC_H

#include <stdint.h>
#include <string.h>

#ifdef GMM_FLOAT32
typedef float real;
#else
typedef double real;
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
/* aligned(element): a load from any address is allowed; may_alias: it may read an array of scalars */
typedef real vec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(real)), may_alias));
typedef double dvec __attribute__((vector_size(VEC_BYTES), aligned(sizeof(double)), may_alias));
enum { LANES = VEC_BYTES / sizeof(real), DLANES = VEC_BYTES / sizeof(double) };
static inline vec vec_set(real a) { return (vec){0} + a; }
static inline dvec dvec_set(double a) { return (dvec){0} + a; }
/* Lane i of the halves is added first, then the quarters: a tree, the same at every optimisation level. */
static inline double dvec_sum(dvec a) {
    double t[DLANES];
    memcpy(t, &a, sizeof a);
    for (int n = DLANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) t[i] += t[i + n];
    return t[0];
}
static inline double vec_sum(vec a) {
    double t[LANES];
    for (int i = 0; i < LANES; i++) t[i] = a[i];
    for (int n = LANES / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++) t[i] += t[i + n];
    return t[0];
}
#else
typedef real vec;
typedef double dvec;
enum { LANES = 1, DLANES = 1 };
static inline vec vec_set(real a) { return a; }
static inline dvec dvec_set(double a) { return a; }
static inline double dvec_sum(dvec a) { return a; }
static inline double vec_sum(vec a) { return a; }
#endif

/* Samples side by side in a panel: two vectors, so that four rows of a factor fill eight accumulators. */
enum { WIDTH = 2 * LANES };

static inline uint64_t bits_of_double(double a) { uint64_t b; memcpy(&b, &a, 8); return b; }
static inline double double_of_bits(uint64_t b) { double a; memcpy(&a, &b, 8); return a; }
static inline uint32_t bits_of_float(float a) { uint32_t b; memcpy(&b, &a, 4); return b; }
static inline float float_of_bits(uint32_t b) { float a; memcpy(&a, &b, 4); return a; }

#endif
