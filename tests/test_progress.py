"""Tests of the progress bar."""

import copy
import io
import pickle
import sys

import numpy as np
import pytest
import sklearn.base

from gmm_core import BayesianGaussianMixture, GaussianMixture, ProgressBar

X = np.random.default_rng(0).normal(size=(100, 2))


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_there_is_a_bar_for_each_start(cls):
    out = io.StringIO()
    model = cls(
        n_components=2, n_init=2, random_state=0, max_iter=50, tol=0.1,
        callback=ProgressBar(file=out, mininterval=0, ascii=True),
    ).fit(X)  # fmt: skip
    lines = [text.strip() for text in out.getvalue().replace("\r", "\n").splitlines()]
    lines = [text for text in lines if text]
    for i, restart in enumerate(model.restarts_):
        last = [text for text in lines if text.startswith(f"start {i + 1}:")][-1]
        assert f"{restart.n_iter}/50" in last
    assert f"lower bound {model.lower_bounds_[-1]:.5g}" in out.getvalue()
    assert out.getvalue().endswith("\n")  # the bar is closed


def test_the_bar_is_closed_after_an_error():
    out = io.StringIO()

    def fail(state):
        raise RuntimeError

    bar = ProgressBar(file=out)
    with pytest.raises(RuntimeError):
        GaussianMixture(callback=[bar, fail]).fit(X)
    assert out.getvalue().endswith("\n")


def test_it_is_a_parameter_like_others():
    bar = ProgressBar(leave=False)
    model = GaussianMixture(callback=bar)
    assert repr(model) == "GaussianMixture(callback=ProgressBar(leave=False))"
    for other in (sklearn.base.clone(model).callback, copy.deepcopy(bar),
                  pickle.loads(pickle.dumps(bar))):  # fmt: skip
        assert repr(other) == repr(bar)


def test_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="ProgressBar needs tqdm.*pip install tqdm"):
        ProgressBar()
