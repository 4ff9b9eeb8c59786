"""Tests of the kernels in other projects: each way that the site names is built and run."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gmm_core
from gmm_core import GaussianMixture, _build_config, _cpu, reference

ROOT = Path(__file__).parents[2]
CONSUMERS = ROOT / "tests" / "consumers"
PAGE = (ROOT / "docs" / "cython.md").read_text(encoding="utf-8")
LEVELS = [level for level in _cpu.supported_levels() if level in _build_config.LEVELS]
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
posix = pytest.mark.skipif(os.name != "posix", reason="the commands are those of a POSIX shell")


def run(command: list[Any], folder: Path, **environment: str) -> str:
    scripts = os.path.dirname(sys.executable)  # the virtual environment need not be activated
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
    """Install a project into a folder with pip, and return the folder."""
    site = project.parent / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--quiet"]
    run([*pip, "--target", site, project], project)
    return site


@pytest.fixture(scope="module")
def fitted() -> tuple[np.ndarray, GaussianMixture]:
    X = np.random.default_rng(0).normal(size=(500, 3)) + np.arange(500)[:, None] % 2 * 4
    return X, GaussianMixture(2, random_state=0).fit(X)


@posix
def test_cython_as_the_documentation_has_it(tmp_path: Path) -> None:
    section = PAGE.split("## C and C++")[0]
    [source] = re.findall(r"^```cython\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    [commands] = re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    (tmp_path / "density.pyx").write_text(source)
    install_tools, build_and_run = commands.split("\n", 1)
    assert install_tools == "pip install cython setuptools"  # these are installed with the test tools
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


def vendoring(folder: Path, name: str) -> Path:
    """Copy the project consumers/subproject under another name, with gmm_core as its subproject."""
    project = folder / name
    shutil.copytree(CONSUMERS / "subproject", project)
    for path in (project / "meson.build", project / "pyproject.toml"):
        path.write_text(path.read_text().replace("consumer", name))
    (project / "consumer.pyx").rename(project / f"{name}.pyx")
    vendored = project / "subprojects" / "gmm_core"
    for part in ("gmm_core", "src"):
        shutil.copytree(ROOT / part, vendored / part)
    for part in ("meson.build", "meson.options"):
        shutil.copy(ROOT / part, vendored)
    return project


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder, except for Python's bytecode."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


ARGUMENTS = """
import json, os, sys
import numpy as np
X, X32, weights, means, scales, factors, reg_covar = np.load({path!r}).values()
"""
CONSUMED = """
sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)    # the symbols of a module are visible to the next ones
import consumer, other, c_api
def of(module):
    out, *new = np.empty(len(X), np.float32), weights, means, np.empty_like(scales), scales
    new = [np.array(a) for a in new]
    module.log_densities(X32, weights, means, scales, out)
    return [module.em_step(X, reg_covar, *new), out.tolist(), *(a.tolist() for a in new)]
full = np.frombuffer(c_api.log_densities(weights, means, factors, X)).tolist()
assert "gmm_core" not in sys.modules
print(json.dumps([of(consumer), of(other), full]))
import gmm_core
assert gmm_core.GaussianMixture(2, random_state=0).fit(X).converged_
assert gmm_core.__file__.startswith(sys.prefix)
"""
EXPECTED = """
statistics = gmm_core.accumulate(X, weights, means, scales, "diag")
new = gmm_core.maximization_step(statistics, reg_covar)
def log_densities(X, factors, kind):
    parameters = weights, means, factors, kind
    return gmm_core.expectation_step(X, *parameters)[0].tolist()
show({
    "diag": [statistics.log_likelihood, log_densities(X32, scales, "diag"), *(a.tolist() for a in new)],
    "full": log_densities(X, factors, "full"),
})
"""


@posix
def test_subprojects(tmp_path: Path, fitted: Any, run_python: Any) -> None:
    """Two projects with gmm_core as a subproject work beside an installed gmm_core.

    Their wheels hold only their own modules, into which the kernels are linked. They neither change nor import the
    installed gmm_core, do not share symbols with each other, and their results are bit-identical to its results.
    """
    assert (CONSUMERS / "subproject" / "meson.build").read_text().strip() in PAGE
    levels = {"consumer": "base", "other": "v3" if "v3" in LEVELS else "base"}
    for name in levels:
        vendoring(tmp_path, name)
    shutil.copy(CONSUMERS / "c_api.c", tmp_path / "other")
    with (tmp_path / "other" / "meson.build").open("a") as file:
        file.write("py.extension_module('c_api', 'c_api.c', dependencies: gmm_core, install: true)")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]

    def build(name: str) -> None:
        isa = levels[name].replace("base", "")
        setup = [f"-Csetup-args=-Dgmm_core:isa={isa}", "-Csetup-args=-Dc_args=-Werror=uninitialized"]
        wheel = [*pip, "wheel", "--no-build-isolation", "--no-deps", *setup, "-w", "wheels"]
        run([*wheel, tmp_path / name], tmp_path)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build, levels))
    wheels = sorted((tmp_path / "wheels").iterdir())
    for wheel, modules in zip(wheels, (["consumer"], ["c_api", "other"]), strict=True):
        names = zipfile.ZipFile(wheel).namelist()
        assert sorted(n for n in names if "dist-info" not in n) == [m + SUFFIX for m in modules]

    # this environment gets a copy of the installed gmm_core
    run([sys.executable, "-m", "venv", "--without-pip", "venv"], tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    show_site = "import sysconfig; print(sysconfig.get_path('purelib'), end='')"
    site = Path(run([python, "-c", show_site], tmp_path))
    for file in metadata.distribution("gmm_core").files or ():
        if ".." not in file.parts:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), site / file)
    (site / "numpy.pth").write_text(str(Path(np.__file__).parents[1]))
    before = files_of(site)
    assert "gmm_core/kernels.pxd" in before

    X, model = fitted
    arguments = {
        "X": X,
        "X32": X.astype(np.float32),
        "weights": np.array([0.25, 0.75]),
        "means": np.array([[0, 0, 0], [4, 4, 4.0]]),
        "scales": np.array([[1, 2, 0.5], [1, 1, 1]]),
        "factors": model.precisions_cholesky_,
        "reg_covar": np.full(3, 1e-3),
    }
    np.savez(tmp_path / "arguments.npz", **arguments)
    prelude = ARGUMENTS.format(path=str(tmp_path / "arguments.npz"))
    run([*pip, "--python", python, "install", "--no-index", "--no-deps", *wheels], tmp_path)
    installed = files_of(site)
    assert installed | before == installed
    consumer, other, full = json.loads(run([python, "-P", "-c", prelude + CONSUMED], tmp_path))
    run([*pip, "--python", python, "uninstall", "--yes", "consumer", "other"], tmp_path)
    assert files_of(site) == before
    run([python, "-P", "-c", "import gmm_core.kernels"], tmp_path)

    for name, got in (("consumer", consumer), ("other", other)):
        expected = run_python(prelude + EXPECTED, GMM_CORE_ISA=levels[name])
        assert got == expected["diag"]
    assert full == expected["full"]


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
