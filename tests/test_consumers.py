"""Other projects' use of the kernels: each of the ways that the README names is built, and run."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gmm_core
from gmm_core import GaussianMixture, reference

ROOT = Path(__file__).parents[1]
CONSUMERS = ROOT / "tests" / "consumers"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
posix = pytest.mark.skipif(os.name != "posix", reason="the commands are those of a POSIX shell")


def run(command: list[Any], folder: Path, **environment: str) -> str:
    scripts = os.path.dirname(sys.executable)  # of a virtual environment, activated or not
    path = scripts + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(project: Path) -> Path:
    """A folder that holds what pip installs of a project."""
    site = project.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--quiet"]
    run([*pip, "--target", site, project], project)
    return site


@pytest.fixture(scope="module")
def fitted() -> tuple[np.ndarray, GaussianMixture]:
    X = np.random.default_rng(0).normal(size=(500, 3)) + np.arange(500)[:, None] % 2 * 4
    return X, GaussianMixture(2, random_state=0).fit(X)


@posix
def test_cython_as_the_readme_has_it(tmp_path: Path) -> None:
    section = README.split("## From Cython, C and C++")[1].split("\n## ")[0]
    [source] = re.findall(r"^```cython\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    [commands] = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    (tmp_path / "density.pyx").write_text(source)
    install_tools, build_and_run = commands.split("\n", 1)
    assert install_tools == "pip install cython setuptools"  # the test tools have them
    assert run(["bash", "-euc", build_and_run], tmp_path).splitlines()[-1] == "True"


@posix
@pytest.mark.parametrize(("compiler", "language"), [("CC", "c"), ("CXX", "c++")])
def test_c_and_cpp(
    compiler: str, language: str, tmp_path: Path, fitted: Any, run_python: Any
) -> None:
    command = os.environ.get(compiler, {"CC": "cc", "CXX": "c++"}[compiler]).split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {language} compiler ({command[0]})")
    include = [f"-I{gmm_core.get_include()}", f"-I{sysconfig.get_path('include')}"]
    flags = ["-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", "-shared", "-fPIC"]
    library = tmp_path / f"c_api{SUFFIX}"
    source = ["-x", language, CONSUMERS / "c_api.c"]
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    run([*command, *flags, *include, *source, "-o", library, *undefined], tmp_path)
    X, model = fitted
    np.savez(tmp_path / "model.npz", X, model.weights_, model.means_, model.precisions_cholesky_)
    scores = run_python(
        f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import c_api
X, *parameters = np.load({str(tmp_path / "model.npz")!r}).values()
show(np.frombuffer(c_api.log_densities(*parameters, X)).tolist())
"""
    )
    assert np.array_equal(scores, model.score_samples(X))


def test_header_has_all_functions() -> None:
    from gmm_core import kernels

    header = (Path(gmm_core.get_include()) / "gmm_core.h").read_text()
    assert set(re.findall(r"^    F\(\w+, (\w+),", header, re.MULTILINE)) == set(kernels.__pyx_capi__)


def test_subproject(tmp_path: Path, fitted: Any) -> None:
    project = tmp_path / "consumer"
    shutil.copytree(CONSUMERS / "subproject", project)
    assert (project / "meson.build").read_text().strip() in README
    vendored = project / "subprojects" / "gmm_core"
    for name in ("gmm_core", "src"):
        shutil.copytree(ROOT / name, vendored / name)
    for name in ("meson.build", "meson.options"):
        shutil.copy(ROOT / name, vendored)
    site = install(project)
    X, _ = fitted
    scales = np.array([[1, 2, 0.5], [1, 1, 1]])
    means = np.array([[0, 0, 0], [4, 4, 4.0]])
    np.savez(tmp_path / "model.npz", X, np.array([0.25, 0.75]), means, scales)
    code = f"""
import consumer, gmm_core, numpy
arrays = numpy.load({str(tmp_path / "model.npz")!r}).values()
info = gmm_core.build_info()
print(consumer.total_log_density(*arrays), gmm_core.__file__, info["isa_built"], info["openmp"])
"""
    total, path, levels, openmp = run(
        [sys.executable, "-P", "-c", code], tmp_path, PYTHONPATH=str(site)
    ).split()
    expected = reference.log_likelihood(X, np.array([0.25, 0.75]), means, scales, "diag").sum()
    assert float(total) == pytest.approx(expected, rel=1e-13)
    assert Path(path).parents[1] == site  # its own copy, with the options that it set
    assert (levels, openmp) == ("('base',)", "False")


@posix
def test_copied_kernels(tmp_path: Path, fitted: Any) -> None:
    project = tmp_path / "consumer"
    shutil.copytree(CONSUMERS / "copied", project)
    (project / "vendored").mkdir()
    text = (ROOT / "src" / "README.md").read_text(encoding="utf-8").split("Copy these files")[1]
    [block] = re.findall(r"^((?:    .*\n)+)", text, re.MULTILINE)
    for name in block.split():
        shutil.copy(ROOT / "src" / name, project / "vendored")
    site = install(project)
    X, _ = fitted
    np.save(tmp_path / "X.npy", X)
    code = f"""
import consumer, numpy
X = numpy.load({str(tmp_path / "X.npy")!r})
weights, means, factor = numpy.full(2, 0.5), X[:2].copy(), numpy.eye(3)
log_likelihoods, last = consumer.em(X, weights, means, factor, 5)
print(numpy.save({str(tmp_path / "means.npy")!r}, means), last, *log_likelihoods)
"""
    printed = run([sys.executable, "-P", "-c", code], tmp_path, PYTHONPATH=str(site)).split()
    weights, means, factor = np.full(2, 0.5), X[:2], np.eye(3)
    expected = []
    for _ in range(5):
        log_likelihood, r = reference.expectation_step(X, weights, means, factor, "tied")
        expected.append(log_likelihood.sum())
        weights, means, covariance = reference.maximization_step(X, r, "tied", 0.0)
        factor = reference.precision_cholesky(covariance, "tied")
    expected = [reference.log_likelihood(X, weights, means, factor, "tied").sum(), *expected]
    np.testing.assert_allclose([float(x) for x in printed[1:]], expected, rtol=1e-12)
    np.testing.assert_allclose(np.load(tmp_path / "means.npy"), means, rtol=1e-10)
