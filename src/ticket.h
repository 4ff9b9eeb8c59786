/* Counters by which threads take chunks and wait for their turn. A thread that waits yields its processor. */
#ifndef GMM_CORE_TICKET_H
#define GMM_CORE_TICKET_H

#if defined(__GNUC__)
#include <sched.h>
static inline Py_ssize_t ticket_take(Py_ssize_t *t) { return __atomic_fetch_add(t, 1, __ATOMIC_RELAXED); }
static inline Py_ssize_t ticket_read(const Py_ssize_t *t) { return __atomic_load_n(t, __ATOMIC_ACQUIRE); }
static inline void ticket_set(Py_ssize_t *t, Py_ssize_t value) { __atomic_store_n(t, value, __ATOMIC_RELEASE); }
static inline void give_way(void) { sched_yield(); }
#else   /* On Windows. Whether a volatile access is a barrier there depends on the processor and on compiler options. */
#include <windows.h>
#ifdef _WIN64
static inline Py_ssize_t ticket_take(Py_ssize_t *t) { return InterlockedExchangeAdd64((volatile LONG64 *)t, 1); }
#else
static inline Py_ssize_t ticket_take(Py_ssize_t *t) { return InterlockedExchangeAdd((volatile LONG *)t, 1); }
#endif
static inline Py_ssize_t ticket_read(const Py_ssize_t *t) {
    Py_ssize_t value = *(const volatile Py_ssize_t *)t;
    MemoryBarrier();
    return value;
}
static inline void ticket_set(Py_ssize_t *t, Py_ssize_t value) {
    MemoryBarrier();
    *(volatile Py_ssize_t *)t = value;
}
static inline void give_way(void) { SwitchToThread(); }
#endif

static inline void ticket_wait(const Py_ssize_t *t, Py_ssize_t value) {
    for (int spins = 0; ticket_read(t) != value; spins++)
        if (spins > 64) give_way();
}

#endif
