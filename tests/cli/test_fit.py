"""Tests of fits by the command line, and of the choice of one of several by a criterion."""

from pathlib import Path

import numpy as np
import pytest

from gmm_core import GaussianMixture, select
from gmm_core.cli.main import main
from gmm_core.fit import run

FAITHFUL = str(Path(__file__).parents[2] / "examples" / "old_faithful.csv")


def test_fit_prints_components_and_figures(output, fields, faithful):
    out = output("fit", FAITHFUL, "-k", "2", "--tol", "1e-8")
    mixture = GaussianMixture(2, tol=1e-8, random_state=0).fit(faithful)
    assert "272 samples, 2 features" in out
    assert "eruptions" in out and "waiting" in out
    for k in range(2):
        sd = np.sqrt(np.diag(mixture.covariances_[k]))
        assert f"{mixture.weights_[k]:.4f}" in out
        for d in range(2):
            assert f"{mixture.means_[k, d]:.6g} ({sd[d]:.4g})" in out
    figures = fields(out)
    # mclust 6.0.0 (R) ends at -1130.26396 with two unrestricted components.
    assert float(figures["log-likelihood"]) == pytest.approx(-1130.264, abs=0.01)
    assert float(figures["BIC"]) == pytest.approx(mixture.bic(faithful), abs=0.01)
    assert int(figures["iterations"]) == mixture.n_iter_
    assert figures["converged"] == "yes"
    assert float(figures["seconds"]) >= 0


@pytest.mark.parametrize("method", ["squarem", "lbfgs"])
def test_acceleration(method, output, fields, faithful):
    out = output("fit", FAITHFUL, "-k", "3", "--tol", "1e-9", "--max-iter", "5000",
                 "--acceleration", method)  # fmt: skip
    params = {"tol": 1e-9, "max_iter": 5_000, "random_state": 0}
    mixture = GaussianMixture(3, acceleration=method, **params).fit(faithful)
    assert int(fields(out)["iterations"]) == mixture.n_iter_
    assert mixture.n_iter_ < GaussianMixture(3, **params).fit(faithful).n_iter_


def test_range_of_k_takes_the_lowest_bic(output, faithful, tmp_path):
    path = str(tmp_path / "best.npz")
    out = output("fit", FAITHFUL, "-k", "1:4", "--out", path)
    X = faithful
    bics = [GaussianMixture(k, random_state=0).fit(X).bic(X) for k in range(1, 5)]
    for bic in bics:
        assert f"{bic:.2f}" in out
    best = 1 + int(np.argmin(bics))
    assert f"lowest BIC: {best} components" in out
    assert GaussianMixture.load(path).means_.shape == (best, 2)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_covariance_types_report_their_standard_deviations(output, faithful, covariance_type):
    out = output("fit", FAITHFUL, "-k", "2", "--covariance-type", covariance_type)
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(faithful)
    covariances = mixture.covariances_
    variance = {
        "full": lambda k, d: covariances[k, d, d],
        "tied": lambda k, d: covariances[d, d],
        "diag": lambda k, d: covariances[k, d],
        "spherical": lambda k, d: covariances[k],
    }[covariance_type]
    for k in range(2):
        for d in range(2):
            assert f"({np.sqrt(variance(k, d)):.4g})" in out


def test_options_reach_the_estimator(capsys, faithful, tmp_path):
    path = str(tmp_path / "model.npz")
    code = main(
        ["fit", FAITHFUL, "-k", "3", "--init", "random", "--n-init", "2", "--max-iter", "4"]
        + ["--tol", "1e-9", "--reg-covar", "0.01", "--seed", "5", "--threads", "1", "--out", path]
    )
    assert code == 0
    err = capsys.readouterr().err
    with pytest.warns(UserWarning, match="converge"):
        expected = GaussianMixture(
            3, init_params="random", n_init=2, max_iter=4, tol=1e-9, reg_covar=0.01, random_state=5
        ).fit(faithful)
    np.testing.assert_array_equal(GaussianMixture.load(path).means_, expected.means_)
    # The ConvergenceWarning takes one line; the source line that Python adds is left out.
    assert err.startswith("gmm-core: warning: 3 components: ") and err.count("\n") == 1


def table_of(out):
    """Return a dict with the figures of each model that was tried; the keys name the models."""
    lines = out.split("\n\n")[1].splitlines()[1:]
    rows = [line.split() for line in lines if not line.startswith(("* ", "failed: "))]
    return {row[0]: row[1:] for row in rows}


def collapse(monkeypatch, components):
    """Make `select` find collapsed components: `components` lists them by the model's size."""
    monkeypatch.setattr(
        "gmm_core.fit.run.collapsed_components",
        lambda mixture, *others: np.array(components.get(len(mixture.weights), []), int),
    )


def test_a_collapsed_model_is_marked_and_does_not_win(output, tmp_path, monkeypatch):
    plain = output("fit", FAITHFUL, "-k", "1:4")
    bics = {k: float(cells[1]) for k, cells in table_of(plain).items()}
    first, second = sorted(bics, key=bics.get)[:2]
    assert "*" not in plain and f"lowest BIC: {first} components" in plain
    collapse(monkeypatch, {int(first): [0, 1]})
    path = str(tmp_path / "model.npz")
    out = output("fit", FAITHFUL, "-k", "1:4", "--out", path)
    marked = {f"*{k}" if k == first else k for k in bics}
    assert set(table_of(out)) == marked
    assert f"\n* collapsed onto few samples: components 0, 1 of {first}\n" in out
    assert f"lowest BIC (of those without collapsed components): {second} components" in out
    assert len(GaussianMixture.load(path).weights_) == int(second)


def test_three_samples_are_not_three_components(capsys, output, tmp_path):
    """A model with a component for each sample has the largest likelihood, but is not chosen."""
    (tmp_path / "three.csv").write_text("a,b\n0,1\n2,5\n7,3\n")
    path = str(tmp_path / "three.csv")
    out = output("fit", path, "-k", "1:3")
    assert "\n* collapsed onto few samples: components 0, 1 of 2; components 0, 1, 2 of 3\n" in out
    assert "lowest BIC (of those without collapsed components): 1 components" in out
    assert main(["fit", path, "-k", "3"]) == 0
    assert "warning: 3 components: components 0, 1, 2 collapsed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failing", "among"),
    [
        ((), "all have collapsed components"),
        ((2,), "all fits that did not fail have collapsed components"),
    ],
)
def test_no_fit_without_collapsed_components(failing, among, output, monkeypatch):
    collapse(monkeypatch, {1: [0], 2: [1]})
    fit_array = run.fit_array

    def failing_at(options, *args, **kwargs):
        if options.n_components in failing:
            raise ValueError("too many")
        return fit_array(options, *args, **kwargs)

    monkeypatch.setattr(run, "fit_array", failing_at)
    out = output("fit", FAITHFUL, "-k", "1:2")
    assert f"lowest BIC ({among}): " in out


def test_the_marks_of_many_collapsed_models_fit_the_terminal(output, monkeypatch, on_a_terminal):
    collapse(monkeypatch, {k: list(range(k)) for k in range(2, 9)})
    on_a_terminal(80)
    out = output("fit", FAITHFUL, "-k", "1:8")
    assert "0, 1, 2, 3, 4, 5, 6, 7 of 8" in " ".join(out.split())
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_collapsed_model_that_comes_first_does_not_win(output, monkeypatch):
    collapse(monkeypatch, {1: [0], 2: [1]})
    out = output("fit", FAITHFUL, "-k", "1:3")
    assert "component 0 of 1; component 1 of 2\n" in out
    assert "components): 3 components" in out


def test_if_all_models_collapsed_the_lowest_bic_is_taken(output, monkeypatch):
    plain = output("fit", FAITHFUL, "-k", "1:3")
    collapse(monkeypatch, {1: [0], 2: [1], 3: [0]})
    out = output("fit", FAITHFUL, "-k", "1:3")
    best = plain.partition("lowest BIC: ")[2].split()[0]
    assert f"lowest BIC (all have collapsed components): {best} components" in out


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_all_types_and_a_criterion(output, faithful, tmp_path, criterion):
    path = str(tmp_path / "best.npz")
    out = output(
        "fit", FAITHFUL, "-k", "1:3", "--covariance-type", "all", "--criterion", criterion,
        "--reg-covar", "1e-3", "--seed", "2", "--out", path,
    )  # fmt: skip
    selection = select(faithful, range(1, 4), "all", criterion, reg_covar=1e-3, random_state=2)
    header, *lines = out.split("\n\n")[1].splitlines()
    assert header.split()[:4] == ["type", "components", "log-likelihood", criterion.upper()]
    assert [line.split()[:4] for line in lines] == [
        [row.covariance_type, str(row.n_components), f"{row.log_likelihood:.2f}",
         f"{getattr(row, criterion):.2f}"]
        for row in selection.table
    ]  # fmt: skip
    best = selection.best
    chosen = f"{best.covariance_type}, {best.n_components} components"
    assert f"\nlowest {criterion.upper()}: {chosen}\n" in out
    saved = GaussianMixture.load(path)
    assert saved.covariance_type == best.covariance_type
    np.testing.assert_array_equal(saved.covariances_, best.covariances_)


def test_all_types_of_one_feature_and_one_k(output, faithful, tmp_path):
    np.save(tmp_path / "x.npy", faithful[:, 0])
    out = output("fit", str(tmp_path / "x.npy"), "-k", "2", "--covariance-type", "all")
    assert list(table_of(out)) == ["E", "V"]
    assert "lowest BIC: V, 2 components" in out


def test_a_single_fit_prints_the_criterion(output, fields, faithful):
    out = output("fit", FAITHFUL, "-k", "2", "--covariance-type", "EEV", "--criterion", "icl")
    model = GaussianMixture(2, covariance_type="EEV", random_state=0).fit(faithful)
    assert float(fields(out)["ICL"]) == pytest.approx(model.icl(faithful), abs=0.01)
    assert "BIC" not in out


def test_several_fits_give_no_warnings(output):
    out = output("fit", FAITHFUL, "-k", "2:3", "--tol", "0", "--max-iter", "2")
    assert [cells[3] for cells in table_of(out).values()] == ["no", "no"]


def test_failed_fits_are_rows(output, failure, write):
    path = write("1,1\n" * 3 + "2,2\n" * 3 + "5,5\n" * 2)
    options = ["--reg-covar", "0"]
    out = output("fit", path, "-k", "1", "--covariance-type", "all", *options)
    rows = table_of(out)
    assert {rows[name][4] for name in ("EEE", "EEV", "VVV")} == {"failed"}
    assert all(rows[name][1:4] == ["-", "-", "-"] for name in ("EEE", "EEV", "VVV"))
    assert {rows[name][4] for name in ("EII", "VVI")} == {"yes"}
    reasons = [line for line in out.splitlines() if line.startswith("failed: ")]
    assert "failed: EEE 1: " in reasons[0] and "shared covariance is not positive" in reasons[0]
    assert "VVV 1: " in reasons[1] and "component 0 is not positive definite" in reasons[1]
    error = failure("fit", path, "-k", "1:2", *options)
    assert "all fits failed, the last because: " in error
    assert "component 0 is not positive definite" in error
