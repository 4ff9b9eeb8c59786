"""Tests that a compiled header computes what SciPy does."""

import ctypes
import itertools
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.model.covariance import COVARIANCE_TYPES

TOLERANCE = {"float32": 1e-5, "float64": 1e-11}  # see test_onnx.py
CASES = list(itertools.product(COVARIANCE_TYPES, TOLERANCE))
C_NAME = {"float32": "float", "float64": "double"}
CHECKED = [
    *os.environ.get("CC", "cc").split(),
    "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1",
]  # fmt: skip

LOOP = """
void run_{name}(const {T} *X, long n, int *label, {T} *r, {T} *scores, {T} *scores_alone)
{{
    for (long i = 0; i < n; i++, X += {NAME}_N_FEATURES, r += {NAME}_N_COMPONENTS) {{
        label[i] = {name}_predict(X);
        scores[i] = {name}_responsibilities(X, r);
        scores_alone[i] = {name}_log_likelihood(X);
    }}
}}
"""


def compiled(folder, headers):
    """Return a library with a loop over rows for each of the headers, by the names of the models."""
    code = ""
    for name, (header, dtype) in headers.items():
        (folder / f"{name}.h").write_text(header)
        code += f'#include "{name}.h"\n#include "{name}.h"\n'
        code += LOOP.format(name=name, NAME=name.upper(), T=C_NAME[dtype])
    (folder / "loops.c").write_text(code)
    library = folder / "loops.so"
    made = subprocess.run(
        [*CHECKED, "-fPIC", "-shared", folder / "loops.c", "-o", library, "-lm"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return ctypes.CDLL(str(library))


def run(library, name, X, n_components):
    X = np.ascontiguousarray(X)
    label = np.empty(len(X), np.int32)
    r = np.empty((len(X), n_components), X.dtype)
    scores, alone = np.empty((2, len(X)), X.dtype)
    pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (X, label, r, scores, alone)]
    getattr(library, f"run_{name}")(pointers[0], ctypes.c_long(len(X)), *pointers[1:])
    np.testing.assert_array_equal(scores, alone)
    return label, r, scores


@pytest.fixture(scope="module")
def library(tmp_path_factory, make_exported):
    """One program with the headers of all types in both dtypes."""
    headers = {f"{kind}_{dtype}": (make_exported(kind).model.to_c(f"{kind}_{dtype}", dtype=dtype), dtype)
               for kind, dtype in CASES}  # fmt: skip
    return compiled(tmp_path_factory.mktemp("headers"), headers)


@pytest.mark.parametrize(("covariance_type", "dtype"), CASES)
def test_compiled_header_computes_what_scipy_does(covariance_type, dtype, library, make_exported):
    case = make_exported(covariance_type)
    label, r, scores = run(library, f"{covariance_type}_{dtype}", case.X.astype(dtype), 3)
    np.testing.assert_allclose(scores, case.log_likelihood, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(r, case.responsibilities, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(label, r.argmax(axis=1))


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_samples_far_away_and_not_finite(covariance_type, dtype, tmp_path, make_exported):
    case = make_exported(covariance_type, 0.0)
    model = GaussianMixture.from_parameters(
        np.append(case.model.weights_, 0).astype(dtype), np.append(case.model.means_, [[9] * 3], axis=0),
        covariances=np.append(case.model.covariances_, case.model.covariances_[:1], axis=0),
    )  # fmt: skip
    X = (case.X[:50] * (1e30 if dtype == "float32" else 1e200)).astype(dtype)
    far = compiled(tmp_path, {"far": (model.to_c("far", dtype=dtype), dtype)})
    label, r, scores = run(far, "far", X, 4)
    assert np.isneginf(scores).all() and len(set(label.tolist())) > 1
    distances = np.stack([model_distance(model, X, k) for k in range(3)], axis=1)
    np.testing.assert_array_equal(label, distances.argmin(axis=1))
    np.testing.assert_array_equal(r, np.eye(4)[label])
    X[:, 0] = np.nan
    assert np.isnan(run(far, "far", X, 4)[2]).all()


def model_distance(model, X, k):
    """Return the distances of samples to a component whose mean is near zero, by its covariance."""
    X = X / np.abs(X).max()
    covariance = np.diag(model.covariances_[k]) if model.covariances_.ndim == 2 else model.covariances_[k]
    return np.einsum("ni,ij,nj->n", X, np.linalg.inv(covariance), X)


def test_names(make_exported):
    model = make_exported("full").model
    text = model.to_c("Pumps2_")
    assert "enum { PUMPS2__N_COMPONENTS = 3, PUMPS2__N_FEATURES = 3 };" in text
    assert "static inline int Pumps2__predict(const double *x)" in text
    for name in ("", "2nd", "_gmm", "my-model", "größe", "a b", "gmm\n"):
        with pytest.raises(ValueError, match="name should consist of letters of ASCII"):
            model.to_c(name)
    with pytest.raises(TypeError, match="name should be a str, but got int"):
        model.to_c(3)


def test_bad_models(make_exported):
    with pytest.raises(ValueError, match="dtype should be float32, float64 or None, but got 'half'"):
        make_exported("full").model.to_c(dtype="half")
    with pytest.raises(ValueError, match="not fitted"):
        GaussianMixture().to_c()
    noisy = GaussianMixture(noise=True, random_state=0).fit(np.arange(9.0)[:, None])
    with pytest.raises(ValueError, match="to_c does not take a noise component"):
        noisy.to_c()


def test_program_of_the_documentation(tmp_path):
    """It prints what the methods of the model return."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "export.md").read_text(encoding="utf-8")
    [source] = re.findall(r"^```c\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    X = np.loadtxt(root / "examples" / "old_faithful.csv", delimiter=",", skiprows=1)
    model = GaussianMixture(2, random_state=0).fit(X)
    (tmp_path / "faithful.h").write_text(model.to_c("faithful"))
    (tmp_path / "program.c").write_text(source)
    subprocess.run([*CHECKED, "program.c", "-o", "program", "-lm"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    x = np.array([[4.5, 80.0]])
    expected = [model.predict(x)[0], model.score_samples(x)[0], *model.predict_proba(x)[0]]
    np.testing.assert_allclose([float(word) for word in printed.split()], expected, atol=1e-6)
