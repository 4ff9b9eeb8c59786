"""Tests of patch_sklearn, unpatch_sklearn and `python -m gmm_core.patch`."""

import inspect
import pickle
import subprocess
import sys
import warnings
from types import ModuleType

import numpy as np
import pytest
import sklearn.mixture
import sklearn.mixture._gaussian_mixture
from sklearn.mixture import BayesianGaussianMixture as SklearnBayesianMixture
from sklearn.mixture import GaussianMixture as SklearnMixture

import gmm_core
from gmm_core import BayesianGaussianMixture, GaussianMixture, patch, patch_sklearn, unpatch_sklearn

NAMES = ("GaussianMixture", "BayesianGaussianMixture")
THEIRS = {"GaussianMixture": SklearnMixture, "BayesianGaussianMixture": SklearnBayesianMixture}
OURS = {"GaussianMixture": GaussianMixture, "BayesianGaussianMixture": BayesianGaussianMixture}
X = np.random.default_rng(0).normal(size=(60, 2)) + 5 * (np.arange(60) % 2)[:, None]


def in_sklearn():
    return {name: getattr(sklearn.mixture, name) for name in NAMES}


@pytest.fixture
def patched():
    patch_sklearn()
    yield
    unpatch_sklearn()
    assert in_sklearn() == THEIRS


def test_patch_and_unpatch():
    for _ in range(2):
        patch_sklearn()
        patch_sklearn()
        assert in_sklearn() == OURS
        unpatch_sklearn()
        unpatch_sklearn()
        assert in_sklearn() == THEIRS
    assert gmm_core.GaussianMixture is GaussianMixture


def test_modules_that_imported_the_classes_before_are_named(monkeypatch):
    for name in ("late", "early"):
        module = ModuleType(name)
        module.GaussianMixture = SklearnMixture if name == "early" else "something else"
        monkeypatch.setitem(sys.modules, name, module)
    message = r"imported scikit-learn's mixtures before and go on using them: .*\bearly\b.*\. Call"
    with pytest.warns(UserWarning, match=message) as caught:
        patch_sklearn()
    assert caught[0].filename == __file__ and "late" not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patch_sklearn()     # no second warning
    unpatch_sklearn()
    assert sys.modules["early"].GaussianMixture is SklearnMixture


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name):
    """Calls of scikit-learn's constructors and public methods are calls of ours, with the same defaults."""
    theirs, ours = THEIRS[name], OURS[name]
    methods = [m for m, _ in inspect.getmembers(theirs, inspect.isroutine) if not m.startswith("_")]
    assert {"fit", "predict", "sample", "set_params"} < set(methods)
    for method in ["__init__", *methods]:
        if "_request" in method:        # these take keywords
            continue
        expected = inspect.signature(getattr(theirs, method)).parameters
        got = inspect.signature(getattr(ours, method)).parameters
        for parameter in expected.values():
            found = got[parameter.name]
            assert (found.default, found.kind) == (parameter.default, parameter.kind), (method, parameter)
        shared = [p for p in got if p in expected]
        assert shared == list(expected), method


@pytest.mark.usefixtures("patched")
def test_models_of_sklearn_while_patched():
    """to_sklearn returns scikit-learn's classes, and their pickles can be written and read."""
    for name, options in ((NAMES[0], {}), (NAMES[1], {"weight_concentration_prior": 0.1})):
        model = getattr(sklearn.mixture, name)(n_components=2, random_state=0, **options).fit(X)
        assert type(model) is OURS[name]
        theirs = pickle.loads(pickle.dumps(model.to_sklearn()))
        assert type(theirs) is THEIRS[name]
        np.testing.assert_allclose(theirs.score_samples(X), model.score_samples(X), rtol=1e-12)
        assert type(pickle.loads(pickle.dumps(model))) is OURS[name]


@pytest.mark.parametrize("name", NAMES)
def test_log_weights_that_converters_read(name):
    model = OURS[name](n_components=2, random_state=0).fit(X)
    expected = model.to_sklearn()._estimate_log_weights()
    np.testing.assert_allclose(model._estimate_log_weights(), expected, rtol=1e-13)


def test_log_weights_of_a_noise_component_are_refused():
    model = GaussianMixture(noise=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match="has no noise component"):
        model._estimate_log_weights()


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(ImportError, match="patch_sklearn needs scikit-learn.*: pip install scikit-learn"):
        patch_sklearn()


# --- python -m gmm_core.patch ---------------------------------------------------------------

SCRIPT = """
import sys
import neighbour
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
print(__name__, sys.argv[1:], neighbour.number)
print(GaussianMixture.__module__, BayesianGaussianMixture.__module__)
"""
PRINTED = "__main__ ['--fast', '-m'] 7\ngmm_core.mixture gmm_core.bayesian\n"


def run(folder, *arguments, options=()):
    command = [sys.executable, "-W", "error", *options, "-m", "gmm_core.patch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "script.py").write_text(SCRIPT)
    (tmp_path / "tool" / "neighbour.py").write_text("number = 7")
    return tmp_path


def test_script(folder):
    made = run(folder, "tool/script.py", "--fast", "-m")
    assert (made.stdout, made.stderr, made.returncode) == (PRINTED, "", 0)


def test_module(folder):
    made = run(folder / "tool", "-m", "script", "--fast", "-m")
    assert (made.stdout, made.stderr, made.returncode) == (PRINTED, "", 0)


def test_safe_path(folder):
    """With -P, the folder of the script is not searched for modules, as without the patch."""
    made = run(folder, "tool/script.py", options=["-P"])
    assert "No module named 'neighbour'" in made.stderr


@pytest.mark.parametrize("arguments", [[], ["-m"], ["-c", "1"], ["-m", "-x"]])
def test_usage(arguments):
    with pytest.raises(SystemExit, match=r"^usage: python -m gmm_core.patch \(SCRIPT \| -m MODULE\)"):
        patch.main(arguments)
    assert in_sklearn() == THEIRS


def test_help(capsys):
    patch.main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m gmm_core.patch")


def test_program_that_is_missing(monkeypatch):
    with pytest.raises(SystemExit, match=r"^gmm_core.patch: there is no script 'missing.py'$"):
        patch.main(["missing.py"])
    assert in_sklearn() == THEIRS
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(SystemExit, match=r"^gmm_core.patch: patch_sklearn needs scikit-learn"):
        patch.main(["-m", "missing"])
