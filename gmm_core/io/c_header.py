"""The conversion of a mixture to a header of C99."""

from __future__ import annotations

import re
from string import Template

import numpy as np

from gmm_core.core.info import build_info
from gmm_core.core.types import AnyArray
from gmm_core.io.constants import Constants

_HEADER = Template("""\
/* A Gaussian mixture of $K components and $D features, written by gmm_core $version. */

#ifndef ${NAME}_H
#define ${NAME}_H

#include <math.h>

enum { ${NAME}_N_COMPONENTS = $K, ${NAME}_N_FEATURES = $D };

$arrays
/* Return |scale * U' (x - mean)|^2 for component k, where U U' is the inverse of its covariance. */
static inline $T ${name}_squared_distance(const $T *x, int k, $T scale)
{
    const $T *factor = ${name}_factors[$factor_index];
$distance}

/* Return the log-density of component k times its weight, minus the constant log_offset. */
static inline $T ${name}_log_prob(const $T *x, int k)
{
    return ${name}_log_constants[k] - $half * ${name}_squared_distance(x, k, $one);
}

/* Return the nearest component to a sample so far away that all densities underflow. */
static inline int ${name}_nearest(const $T *x)
{
    int nearest = $first;
    $T least = INFINITY;
    for (int k = 0; k < ${NAME}_N_COMPONENTS; k++) {
        const $T distance = ${name}_squared_distance(x, k, $far_scale);
        if (${name}_log_constants[k] == -INFINITY)
            continue;
        if (distance < least || (distance == least
                && ${name}_log_constants[k] > ${name}_log_constants[nearest])) {
            nearest = k;
            least = distance;
        }
    }
    return nearest;
}

/* Return the component with the largest responsibility for the sample x. */
static inline int ${name}_predict(const $T *x)
{
    int best = 0;
    $T largest = ${name}_log_prob(x, 0);
    for (int k = 1; k < ${NAME}_N_COMPONENTS; k++) {
        const $T log_prob = ${name}_log_prob(x, k);
        if (log_prob > largest) {
            best = k;
            largest = log_prob;
        }
    }
    return largest == -INFINITY ? ${name}_nearest(x) : best;
}

/* Write the responsibilities of all components for the sample x to r, and return log p(x). */
static inline $T ${name}_responsibilities(const $T *x, $T *r)
{
    $T largest = -INFINITY, total = 0;
    for (int k = 0; k < ${NAME}_N_COMPONENTS; k++) {
        r[k] = ${name}_log_prob(x, k);
        if (!(r[k] <= largest))
            largest = r[k];
    }
    if (largest == -INFINITY) {
        const int nearest = ${name}_nearest(x);
        for (int k = 0; k < ${NAME}_N_COMPONENTS; k++)
            r[k] = k == nearest;
        return -INFINITY;
    }
    for (int k = 0; k < ${NAME}_N_COMPONENTS; k++) {
        r[k] = $exp(r[k] - largest);
        total += r[k];
    }
    for (int k = 0; k < ${NAME}_N_COMPONENTS; k++)
        r[k] /= total;
    return largest + $log(total) + $log_offset;
}

/* Return log p(x), in nats. */
static inline $T ${name}_log_likelihood(const $T *x)
{
    $T r[${NAME}_N_COMPONENTS];
    return ${name}_responsibilities(x, r);
}

#endif
""")

_TRIANGLES = """\
    $T difference[${NAME}_N_FEATURES], sum = 0;
    for (int j = 0; j < ${NAME}_N_FEATURES; j++) {
        $T y = 0;
        difference[j] = scale * $difference;
        for (int i = 0; i <= j; i++)
            y += difference[i] * *factor++;
        sum += y * y;
    }
    return sum;
"""
_DIAGONALS = """\
    $T sum = 0;
    for (int j = 0; j < ${NAME}_N_FEATURES; j++) {
        const $T y = factor[j] * (scale * $difference);
        sum += y * y;
    }
    return sum;
"""


def to_c(constants: Constants, name: str) -> str:
    """Return the header of a mixture, in which all names begin with `name`.

    Raises
    ------
    TypeError, ValueError
        If `name` cannot begin names of C.
    """
    if not isinstance(name, str):
        raise TypeError(f"name should be a str, but got {type(name).__name__}")
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            "name should consist of letters of ASCII, digits and underscores, and begin with a "
            f"letter, but got {name!r}"
        )
    K, D = constants.means.shape
    factors = constants.factors
    has_triangles = factors.ndim == 3
    if has_triangles:  # the columns of U, down to the diagonal
        j, i = np.tril_indices(D)
        factors = factors[:, i, j]
    arrays = {"log_constants": constants.log_constants, "means": constants.means}
    difference = "(x[j] - ${name}_means[k][j])"
    if constants.remainders is not None:
        arrays["remainders"] = constants.remainders
        difference = f"({difference} - ${{name}}_remainders[k][j])"
    arrays["factors"] = factors
    single = constants.dtype == "float32"
    names = {"name": name, "NAME": name.upper(), "T": "float" if single else "double"}
    distance = Template(_TRIANGLES if has_triangles else _DIAGONALS)
    return _HEADER.substitute(
        names, K=K, D=D, version=build_info()["version"],
        arrays="".join(_array(f"{name}_{key}", names["T"], arrays[key]) for key in arrays),
        factor_index="k" if len(factors) == K else "0",
        distance=distance.substitute(names, difference=Template(difference).substitute(names)),
        first=int(np.argmax(constants.log_constants > -np.inf)),
        exp="expf" if single else "exp", log="logf" if single else "log",
        **{
            key: _literal(np.dtype(constants.dtype).type(value))
            for key, value in {
                "one": 1, "half": 0.5, "far_scale": constants.far_scale,
                "log_offset": constants.log_offset,
            }.items()
        },
    )  # fmt: skip


def _array(name: str, type_name: str, array: AnyArray) -> str:
    """Return the definition of an array, with a row of a matrix in braces of its own."""
    sizes = "".join(f"[{size}]" for size in array.shape)
    rows = [_numbers(row) for row in np.atleast_2d(array)]
    if array.ndim == 2:
        rows = [f"{{ {row} }}" for row in rows]
    text = ",\n    ".join(rows)
    return f"static const {type_name} {name}{sizes} = {{\n    {text}\n}};\n"


def _numbers(row: AnyArray) -> str:
    """Return numbers, five in a line."""
    literals = [_literal(number) for number in row]
    lines = (", ".join(literals[at : at + 5]) for at in range(0, len(literals), 5))
    return ",\n      ".join(lines)


def _literal(number: np.floating) -> str:
    """Return the shortest decimal that the compiler reads as this number."""
    if number == -np.inf:
        return "-INFINITY"
    return f"{number!s}f" if isinstance(number, np.float32) else str(number)
