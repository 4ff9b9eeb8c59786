/* Measure the largest rate of floating-point operations of a core, by multiply-adds on registers.
 * roofline.py compiles this with REAL (the type), BYTES (the size of a vector) and the flags of an
 * instruction set. */
#include <time.h>

typedef REAL vec __attribute__((vector_size(BYTES)));
enum { CHAINS = 10, ROUNDS = 2000000 };

/* The empty asm stops the compiler from removing an operation or combining two of them. */
#define STEP(s) s = s * a + b; __asm__ volatile("" : "+x"(s));

/* Return the number of operations per nanosecond of CPU time of this thread. */
double peak(void) {
    struct timespec begin, end;
    vec a = (vec){0} + (REAL)0.999, b = (vec){0} + (REAL)0.001;
    vec s0 = b, s1 = b, s2 = b, s3 = b, s4 = b, s5 = b, s6 = b, s7 = b, s8 = b, s9 = b;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int n = 0; n < ROUNDS; n++) {
        STEP(s0) STEP(s1) STEP(s2) STEP(s3) STEP(s4) STEP(s5) STEP(s6) STEP(s7) STEP(s8) STEP(s9)
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return 2.0 * CHAINS * ROUNDS * (BYTES / sizeof(REAL))
        / ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec));
}
