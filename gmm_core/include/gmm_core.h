/* The kernels of gmm_core for C and C++. gmm_core/kernels.pxd describes each function.
 *
 *     #include <Python.h>
 *     #include "gmm_core.h"            // in the folder gmm_core.get_include()
 *
 *     static gmm_core_functions gmm;   // in the module's init function:
 *     if (gmm_core_import(&gmm) < 0)
 *         return NULL;                 // with an exception set
 *     ... gmm.log_densities_f64(mixture, X, n, out, scratch) ...
 *
 * The pointers stay valid until the process ends. The functions may be called without the GIL.
 */
#ifndef GMM_CORE_H
#define GMM_CORE_H

#include <Python.h>
#include <string.h>

#define GMM_CORE_API_VERSION 1

enum { GMM_CORE_FULL = 0, GMM_CORE_TIED = 1, GMM_CORE_DIAG = 2, GMM_CORE_SPHERICAL = 3 };

/* F(result, name, arguments) for each function in kernels.pxd */
#define GMM_CORE_FUNCTIONS(F) \
    F(int, api_version, (void)) \
    F(Py_ssize_t, mixture_bytes_f64, (int covariance_type, Py_ssize_t K, Py_ssize_t D)) \
    F(Py_ssize_t, mixture_bytes_f32, (int covariance_type, Py_ssize_t K, Py_ssize_t D)) \
    F(Py_ssize_t, scratch_bytes_f64, (int covariance_type, Py_ssize_t K, Py_ssize_t D)) \
    F(Py_ssize_t, scratch_bytes_f32, (int covariance_type, Py_ssize_t K, Py_ssize_t D)) \
    F(void, prepare_mixture_f64, (int covariance_type, Py_ssize_t K, Py_ssize_t D, \
      const double *weights, const double *means, const double *precisions_cholesky, void *mixture, void *scratch)) \
    F(void, prepare_mixture_f32, (int covariance_type, Py_ssize_t K, Py_ssize_t D, \
      const double *weights, const double *means, const double *precisions_cholesky, void *mixture, void *scratch)) \
    F(double, log_density_f64, (const void *mixture, const double *x, void *scratch)) \
    F(float, log_density_f32, (const void *mixture, const float *x, void *scratch)) \
    F(Py_ssize_t, log_densities_f64, \
      (const void *mixture, const double *X, Py_ssize_t n, double *out, void *scratch)) \
    F(Py_ssize_t, log_densities_f32, \
      (const void *mixture, const float *X, Py_ssize_t n, float *out, void *scratch)) \
    F(Py_ssize_t, responsibilities_f64, \
      (const void *mixture, const double *X, Py_ssize_t n, double *out, double *log_densities, void *scratch)) \
    F(Py_ssize_t, responsibilities_f32, \
      (const void *mixture, const float *X, Py_ssize_t n, float *out, float *log_densities, void *scratch)) \
    F(Py_ssize_t, statistics_size, (int covariance_type, Py_ssize_t K, Py_ssize_t D)) \
    F(Py_ssize_t, accumulate_f64, (const void *mixture, const double *X, const double *sample_weight, \
      Py_ssize_t n, double *statistics, void *scratch)) \
    F(Py_ssize_t, accumulate_f32, (const void *mixture, const float *X, const double *sample_weight, \
      Py_ssize_t n, double *statistics, void *scratch)) \
    F(void, merge_statistics, (const double *other, double *statistics, Py_ssize_t size)) \
    F(Py_ssize_t, parameters_scratch_bytes, (int covariance_type, Py_ssize_t K, Py_ssize_t D)) \
    F(Py_ssize_t, parameters_from_statistics, (int covariance_type, Py_ssize_t K, Py_ssize_t D, \
      const double *statistics, const double *previous_means, const double *reg_covar, double *weights, \
      double *means, double *covariances, double *precisions_cholesky, void *scratch))

#define GMM_CORE_MEMBER(result, name, arguments) result (*name) arguments;
typedef struct { GMM_CORE_FUNCTIONS(GMM_CORE_MEMBER) } gmm_core_functions;
#undef GMM_CORE_MEMBER

#ifdef GMM_CORE_LIBRARY
/* The dependency object of a meson subproject defines this macro. The functions are then linked into the module, in
 * the best build for the processor, and gmm_core is not imported. */
#ifdef __cplusplus
extern "C" const gmm_core_functions *gmm_core_linked;
#else
extern const gmm_core_functions *gmm_core_linked;
#endif

static inline int gmm_core_import(gmm_core_functions *functions) {
    *functions = *gmm_core_linked;
    return 0;
}
#else
/* Store the pointer to a function of gmm_core.kernels, which comes from the capsules of the Cython module. Bytes are
 * copied, because ISO C does not allow converting an object pointer to a function pointer. */
static inline int gmm_core_function(PyObject *capsules, const char *name, void *function, size_t size) {
    PyObject *capsule = PyDict_GetItemString(capsules, name);
    void *pointer = capsule ? PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)) : NULL;
    if (!pointer) {
        PyErr_Format(PyExc_ImportError, "gmm_core.kernels has no function %s: the installed version is too old", name);
        return -1;
    }
    memcpy(function, &pointer, size);
    return 0;
}

/* Return 0, or -1 with an exception set. The caller holds the GIL. */
static inline int gmm_core_import(gmm_core_functions *functions) {
    PyObject *module = PyImport_ImportModule("gmm_core.kernels");
    PyObject *capsules = module ? PyObject_GetAttrString(module, "__pyx_capi__") : NULL;
    int failed = capsules ? 0 : -1;
#define GMM_CORE_GET(result, name, arguments) \
    if (!failed) failed = gmm_core_function(capsules, #name, &functions->name, sizeof functions->name);
    GMM_CORE_FUNCTIONS(GMM_CORE_GET)
#undef GMM_CORE_GET
    Py_XDECREF(capsules);
    Py_XDECREF(module);
    return failed;
}
#endif

#endif
