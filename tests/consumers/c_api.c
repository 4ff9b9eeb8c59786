/* A module in C, and in C++ as well, that calls the kernels by gmm_core.h. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "gmm_core.h"

static gmm_core_functions gmm;

/* log p(x) of float64 samples under a mixture with full covariances, all as buffers of doubles */
static PyObject *log_densities(PyObject *self, PyObject *args) {
    Py_buffer weights, means, precisions_cholesky, X;
    Py_ssize_t K, D, n;
    PyObject *result;
    void *mixture, *scratch;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*y*", &weights, &means, &precisions_cholesky, &X)) return NULL;
    K = weights.len / (Py_ssize_t)sizeof(double);
    D = means.len / weights.len;
    n = X.len / (D * (Py_ssize_t)sizeof(double));
    result = PyBytes_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(double));
    mixture = malloc((size_t)gmm.mixture_bytes_f64(GMM_CORE_FULL, K, D));
    scratch = malloc((size_t)gmm.scratch_bytes_f64(GMM_CORE_FULL, K, D));
    if (result && mixture && scratch) {
        double *out = (double *)PyBytes_AS_STRING(result);
        Py_BEGIN_ALLOW_THREADS
        gmm.prepare_mixture_f64(GMM_CORE_FULL, K, D, (const double *)weights.buf, (const double *)means.buf,
                                (const double *)precisions_cholesky.buf, mixture, scratch);
        gmm.log_densities_f64(mixture, (const double *)X.buf, n, out, scratch);
        Py_END_ALLOW_THREADS
    }
    free(mixture);
    free(scratch);
    PyBuffer_Release(&weights);
    PyBuffer_Release(&means);
    PyBuffer_Release(&precisions_cholesky);
    PyBuffer_Release(&X);
    return result;
}

static PyMethodDef methods[] = {{"log_densities", log_densities, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "c_api", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_c_api(void) {
    if (gmm_core_import(&gmm) < 0) return NULL;
    if (gmm.api_version() < GMM_CORE_API_VERSION) {
        PyErr_SetString(PyExc_ImportError, "gmm_core is older than the header");
        return NULL;
    }
    return PyModule_Create(&definition);
}
