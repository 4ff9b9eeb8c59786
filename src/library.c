/* The functions of gmm_core.h as a static library, for projects that have this one as a subproject. It has a table of
 * functions for each level that was built, and a pointer to the table of the best level that the processor runs. */
#include "gmm_core.h"
#include "cpu.h"
#include "library.h"

#define DECLARATION(result, name, arguments) result GMM_PLAIN(name) arguments;
#define POINTER(result, name, arguments) GMM_PLAIN(name),

#define GMM_LEVEL base
GMM_CORE_FUNCTIONS(DECLARATION)
static const gmm_core_functions base = {GMM_CORE_FUNCTIONS(POINTER)};
#undef GMM_LEVEL

const gmm_core_functions *gmm_core_linked = &base;

#ifdef GMM_HAS_v3
#define GMM_LEVEL v3
GMM_CORE_FUNCTIONS(DECLARATION)
static const gmm_core_functions v3 = {GMM_CORE_FUNCTIONS(POINTER)};
#undef GMM_LEVEL
#endif

#ifdef GMM_HAS_v4
#define GMM_LEVEL v4
GMM_CORE_FUNCTIONS(DECLARATION)
static const gmm_core_functions v4 = {GMM_CORE_FUNCTIONS(POINTER)};
#undef GMM_LEVEL
#endif

#if defined(GMM_HAS_v3) || defined(GMM_HAS_v4)
/* This function runs once, when the module that contains the library is loaded, before anything can call the library.
 * Only compilers that know the option -march build these levels, and they know the attribute constructor too. */
__attribute__((constructor)) static void choose(void) {
    __builtin_cpu_init();
#ifdef GMM_HAS_v3
    if (cpu_has_v3()) gmm_core_linked = &v3;
#endif
#ifdef GMM_HAS_v4
    if (cpu_has_v4()) gmm_core_linked = &v4;
#endif
}
#endif
