/* Which x86-64 level the processor and the operating system support; elsewhere, none beyond the baseline. */
#ifndef GMM_CORE_CPU_H
#define GMM_CORE_CPU_H

#if defined(__GNUC__) && defined(__x86_64__)
static inline int cpu_has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
        && __builtin_cpu_supports("bmi2");
}
static inline int cpu_has_v4(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl");
}
#else
static inline int cpu_has_v3(void) { return 0; }
static inline int cpu_has_v4(void) { return 0; }
#endif

/* The OpenMP runtime's bound on a parallel section of the calling thread: OMP_NUM_THREADS, until somebody
 * (threadpoolctl) sets another. */
#ifdef _OPENMP
#include <omp.h>
static inline int openmp_max_threads(void) { return omp_get_max_threads(); }
#else
static inline int openmp_max_threads(void) { return 1; }
#endif

#endif
