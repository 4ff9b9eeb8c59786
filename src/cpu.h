/* Which x86-64 levels the processor and the operating system support. Other processors have the baseline only. */
#ifndef GMM_CORE_CPU_H
#define GMM_CORE_CPU_H

#if defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>
/* A virtual machine may hide any instruction set, so each one that the compiler may use for a level is tested.
 * __builtin_cpu_supports also knows whether the operating system saves the vector registers. Older compilers know
 * neither "x86-64-v3" nor the names of all its parts, so some bits are read from cpuid. */
static inline int cpu_has_v3(void) {
    const unsigned basic = 1u << 0 | 1u << 9 | 1u << 13     /* SSE3, SSSE3, CMPXCHG16B */
        | 1u << 19 | 1u << 20 | 1u << 22 | 1u << 23         /* SSE4.1, SSE4.2, MOVBE, POPCNT */
        | 1u << 27 | 1u << 28 | 1u << 29;                   /* OSXSAVE, AVX, F16C */
    const unsigned extended = 1u << 0 | 1u << 5;            /* LAHF and SAHF, LZCNT */
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & basic) == basic
        && __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & extended) == extended
        && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
        && __builtin_cpu_supports("bmi2");
}
static inline int cpu_has_v4(void) {
    return cpu_has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl");
}
#else
static inline int cpu_has_v3(void) { return 0; }
static inline int cpu_has_v4(void) { return 0; }
#endif

/* The largest number of threads of a parallel section in the calling thread. It is OMP_NUM_THREADS, unless somebody
 * (such as threadpoolctl) has set another number. */
#ifdef _OPENMP
#include <omp.h>
static inline int openmp_max_threads(void) { return omp_get_max_threads(); }
#else
static inline int openmp_max_threads(void) { return 1; }
#endif

/* The number of processors that the OpenMP runtime binds its threads to (OMP_PROC_BIND, OMP_PLACES), or 0 if it does
 * not bind them. The runtime counts them before it binds the calling thread to one of them. */
#if defined(_OPENMP) && _OPENMP >= 201511
static inline int openmp_bound_processors(void) {
    int count = 0, all = omp_get_num_procs();
    if (omp_get_proc_bind() == omp_proc_bind_false) return 0;
    for (int place = 0; place < omp_get_num_places(); place++) count += omp_get_place_num_procs(place);
    return count > 0 && count < all ? count : all;      /* places may overlap */
}
#else
static inline int openmp_bound_processors(void) { return 0; }
#endif

#endif
