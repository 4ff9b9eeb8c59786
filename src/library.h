/* The names of the functions in the static library for subprojects: gmm_core_v3_log_density_f64 is the function
 * log_density_f64 of gmm_core.h, built for the level v3. GMM_LEVEL is the level that is being compiled. */
#ifndef GMM_CORE_LIBRARY_H
#define GMM_CORE_LIBRARY_H

#define GMM_PASTE(level, name) gmm_core_##level##_##name
#define GMM_EXPAND(level, name) GMM_PASTE(level, name)
#define GMM_PLAIN(name) GMM_EXPAND(GMM_LEVEL, name)
#ifdef GMM_FLOAT32
#define GMM_TYPED(name) GMM_EXPAND(GMM_LEVEL, name##_f32)
#else
#define GMM_TYPED(name) GMM_EXPAND(GMM_LEVEL, name##_f64)
#endif

#define library_mixture_bytes GMM_TYPED(mixture_bytes)
#define library_scratch_bytes GMM_TYPED(scratch_bytes)
#define library_prepare_mixture GMM_TYPED(prepare_mixture)
#define library_log_density GMM_TYPED(log_density)
#define library_log_densities GMM_TYPED(log_densities)
#define library_responsibilities GMM_TYPED(responsibilities)
#define library_accumulate GMM_TYPED(accumulate)

#define library_api_version GMM_PLAIN(api_version)
#define library_statistics_size GMM_PLAIN(statistics_size)
#define library_merge_statistics GMM_PLAIN(merge_statistics)
#define library_parameters_scratch_bytes GMM_PLAIN(parameters_scratch_bytes)
#define library_parameters_from_statistics GMM_PLAIN(parameters_from_statistics)

/* Nobody initialises these modules, but what Cython generates for that needs a name for each build too. */
#define PyInit__library GMM_TYPED(init)
#define PyInit__library_maximization GMM_PLAIN(init)
#define __pyx_module_is_main__library GMM_TYPED(is_main)
#define __pyx_module_is_main__library_maximization GMM_PLAIN(is_main)

#endif
