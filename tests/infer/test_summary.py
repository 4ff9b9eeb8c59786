"""Tests of summaries and of the representation in notebooks."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from gmm_core import BayesianGaussianMixture, GaussianMixture

VALUES = Path(__file__).parents[1] / "values" / "mclust"
CASES = json.loads((VALUES / "cases.json").read_text())


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the lines that follow each line of figures, by its first word."""
    lines = [line.split() for line in text.splitlines()]
    return {line[0]: after for line, after in zip(lines, lines[1:], strict=False) if line}


@pytest.mark.parametrize("case", [c for c in CASES if c["data"] == "faithful.csv"][:6],
                         ids=lambda case: case["name"])  # fmt: skip
def test_figures_are_those_of_mclust(case):
    X = np.loadtxt(VALUES / case["data"], delimiter=",", skiprows=1, ndmin=2)
    K, D = case["n_components"], X.shape[1]
    shape = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}
    parameters = case["converged"]
    model = GaussianMixture.from_parameters(
        np.reshape(parameters["weights"], K), np.reshape(parameters["means"], (K, D)),
        covariances=np.reshape(parameters["covariances"], shape[case["covariance_type"]]),
        covariance_type=case["covariance_type"],
    )  # fmt: skip
    summary = model.summary(X)
    assert np.isclose(summary.log_likelihood, case["loglik"], rtol=0, atol=1e-6)
    assert np.isclose(summary.bic, case["bic"], rtol=0, atol=2e-6)
    figures = rows_of(str(summary))["samples"]
    assert figures[:2] == ["272", f"{case['loglik']:.2f}"]
    assert int(figures[2]) == summary.n_parameters == model.n_parameters


def test_criteria_and_counts_are_those_of_the_methods():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(60, 2)), rng.normal(6, 1, (40, 2)), rng.uniform(-20, 20, (15, 2))])
    weight = rng.uniform(0.5, 2, len(X))
    model = GaussianMixture(2, noise=True, random_state=0).fit(X, sample_weight=weight)
    summary = model.summary(X, weight)
    assert summary.icl == model.icl(X, weight)
    assert summary.aic == model.aic(X, weight)
    labels = model.predict(X)
    assert summary.counts == pytest.approx({k: weight[labels == k].sum() for k in (0, 1, -1)})
    assert np.isclose(summary.n_samples, weight.sum())
    text = str(summary)
    assert "2 components and noise, full covariances" in text
    assert f"after {model.n_iter_} iteration" in text
    counts = text.split("Samples by component\n")[1].splitlines()[:2]
    assert counts[0].split() == ["0", "1", "noise"]
    assert counts[1].split() == [f"{summary.counts[k]:.10g}" for k in (0, 1, -1)]


def test_large_models_are_cut():
    means = np.arange(25 * 8.0).reshape(25, 8)
    model = GaussianMixture.from_parameters(
        np.full(25, 0.04), means, covariances=np.ones(25), covariance_type="spherical"
    )
    text = str(model.summary(means))
    assert text.endswith("5 more components, 2 more features")
    assert "feature 5" in text and "feature 6" not in text


def test_the_summary_is_that_of_a_fitted_model():
    with pytest.raises(NotFittedError):
        GaussianMixture(2).summary([[0.0]])
    model = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[1.0])
    with pytest.raises(ValueError, match="X has 2 features"):
        model.summary([[0.0, 1.0]])
    with pytest.raises(ValueError, match="sample_weight"):
        model.summary([[0.0], [1.0]], [1.0])


class Table(HTMLParser):
    """Collect the cells of tables, and check that each tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.cells, self.bold = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.bold if self.open[-1] == "b" else self.cells).append(data)


def parsed(model) -> Table:
    table = Table()
    table.feed(model._repr_html_())
    table.close()
    assert not table.open
    return table


def test_html_shows_parameters_and_components():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(50, 2)), columns=["<b>", "y & z"])
    model = GaussianMixture(2, tol=0.5, random_state=0)
    before = parsed(model)
    assert " (not fitted)" in before.cells
    assert before.bold == ["GaussianMixture", "2", "0", "0.5"]  # changed parameters, by name
    after = parsed(model.fit(frame))
    assert " (fitted)" in after.cells
    assert {"<b>", "y & z", f"{model.weights_.max():.4f}"} <= set(after.cells)


def test_html_of_a_bayesian_mixture():
    X = np.random.default_rng(0).normal(size=(50, 2))
    model = BayesianGaussianMixture(n_components=2, random_state=0, max_iter=500).fit(X)
    assert f"{model.weights_.max():.4f}" in parsed(model).cells
