"""The examples in the docstrings of the package run, and print what the docstrings say."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import gmm_core
from gmm_core import (
    BayesianGaussianMixture,
    GaussianMixture,
    GaussianMixtureClassifier,
    GaussianMixtureOutlierDetector,
    GaussianMixtureRegressor,
    reference,
)


@pytest.fixture(scope="module")
def docstrings():
    """All docstrings of the package that have examples."""
    names = [module.name for module in pkgutil.walk_packages(gmm_core.__path__, "gmm_core.")]
    names.remove("gmm_core.__main__")   # importing it runs the command line
    modules = [gmm_core, *map(importlib.import_module, names)]
    found = [docstring for module in modules for docstring in doctest.DocTestFinder().find(module)]
    return [docstring for docstring in found if docstring.examples]


def test_examples(docstrings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner, report = doctest.DocTestRunner(), []
    for docstring in docstrings:
        runner.run(docstring, out=report.append)
    assert not runner.failures, "".join(report)
    assert runner.tries > 100
    assert not list(tmp_path.iterdir())


def test_everything_public_has_an_example(docstrings):
    public = [getattr(gmm_core, name) for name in gmm_core.__all__]
    for estimator in (
        GaussianMixture, BayesianGaussianMixture, GaussianMixtureClassifier, GaussianMixtureOutlierDetector,
        GaussianMixtureRegressor,
    ):
        public += [method for _, method in inspect.getmembers(estimator, inspect.isroutine)]
    public += [function for _, function in inspect.getmembers(reference, inspect.isfunction)]
    names = {
        f"{thing.__module__}.{thing.__qualname__}"
        for thing in public
        if callable(thing) and not thing.__name__.startswith("_")
    }
    names = {name for name in names if name.startswith("gmm_core.")}    # not typing.NamedTuple
    assert len(names) > 30
    assert names - {docstring.name for docstring in docstrings} == set()
