"""Tests of scores and information criteria of arrays, files and batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gmm_core import GaussianMixture
from gmm_core.infer import score
from gmm_core.infer.score import log_certainties

N, D, K = 5_000, 3, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)) + 2.0 * RNG.integers(3, size=(N, 1))
WEIGHT = RNG.uniform(0, 2, size=N) * (RNG.uniform(size=N) < 0.9)
CUTS = np.split(np.arange(N), [0, 1, 700, 701, 3_000])
CRITERIA: dict[str, Callable[..., float]] = {
    "score": GaussianMixture.score,
    "bic": GaussianMixture.bic,
    "aic": GaussianMixture.aic,
    "icl": GaussianMixture.icl,
    "entropy": lambda model, X: model.icl(X, certainty="entropy"),
}
every_criterion = pytest.mark.parametrize("criterion", CRITERIA)


@pytest.fixture(scope="module")
def model() -> GaussianMixture:
    return GaussianMixture(K, random_state=0, max_iter=200).fit(X)


class Loader:
    """Batches as data loaders have them: a number of batches, and nothing else but an iterator."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


class Dataset:
    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def to_batches(self) -> Iterator[Any]:
        return iter(self.batches)


FORMS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": lambda batches: (batch for batch in batches),
    "callable": lambda batches: lambda: iter(batches),
    "loader": Loader,
    "dataset": Dataset,
}


@every_criterion
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_have_the_criteria_of_one_array(
    criterion: str, form: str, weighted: bool, model: GaussianMixture
) -> None:
    batches = [(X[rows], WEIGHT[rows]) if weighted else X[rows] for rows in CUTS]
    found = CRITERIA[criterion](model, FORMS[form](batches))
    if criterion == "entropy":
        expected = model.icl(X, WEIGHT if weighted else None, "entropy")
    else:
        expected = getattr(model, criterion)(X, sample_weight=WEIGHT if weighted else None)
    assert found == expected


def test_one_batch_has_the_bits_of_the_array(model: GaussianMixture) -> None:
    for call in CRITERIA.values():
        assert call(model, [X]) == call(model, X)
    for name in ("score", "bic", "aic", "icl"):
        method = getattr(model, name)
        assert method([(X, WEIGHT)]) == method(X, sample_weight=WEIGHT)


def test_lists_of_rows_are_arrays_and_lists_of_lists_of_rows_are_batches(
    model: GaussianMixture,
) -> None:
    for criterion in CRITERIA.values():
        expected = criterion(model, X[:4])
        for rows in (X[:4].tolist(), list(X[:4]), tuple(map(tuple, X[:4].tolist()))):
            assert criterion(model, rows) == expected
        assert criterion(model, [X[:4].tolist()]) == expected
        assert criterion(model, [(X[:4].tolist(), np.ones(4))]) == expected
        assert criterion(model, [X[:0], X[:4]]) == expected
    with pytest.raises(ValueError, match="Found array with dim 3"):
        model.score(X[np.newaxis])


def test_data_frames_and_tables_are_arrays() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:100], columns=list("abc"))
    model = GaussianMixture(2, random_state=0).fit(frame)
    assert model.score(frame) == model.score([frame])
    pyarrow = pytest.importorskip("pyarrow")
    assert model.score(pyarrow.Table.from_pandas(frame)) == model.score(frame)
    with pytest.raises(ValueError, match="batch 1: The feature names should match"):
        model.score([frame, frame[["b", "a", "c"]]])
    with pytest.warns(UserWarning, match="X does not have valid feature names") as caught:
        model.bic(iter([X[:10]]))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([X, X[:, :2]], ValueError, "batch 1: X has 2 features, but .* expecting 3"),
        ([X, X[0]], ValueError, "batch 1: Expected 2D array, got 1D"),
        ([X, np.full((2, D), np.nan)], ValueError, r"batch 1: .*NaN"),
        (lambda: iter([X, np.full((2, D), np.inf)]), ValueError, r"batch 1: .*infinity"),
        ([(X, WEIGHT[1:])], ValueError, r"batch 0: sample_weight.shape == \(4999,\)"),
        ([(X, -WEIGHT)], ValueError, "batch 0: Negative values"),
        ([X, (X, WEIGHT)], ValueError, "some batches have a sample_weight, and others have none"),
        ([(X, 0 * WEIGHT)], ValueError, "total weight of all batches is 0.0, expected a positive"),
        ([X[:0]], ValueError, "batches have 0 rows in all"),
        (lambda: iter([]), ValueError, "batches have 0 rows in all"),
        (lambda: X, ValueError, "one array of shape"),
        (lambda: 3, TypeError, "has type int"),
    ],
)
@every_criterion
def test_bad_batches(
    criterion: str, batches: Any, error: Any, message: str, model: GaussianMixture
) -> None:
    with pytest.raises(error, match=message):
        CRITERIA[criterion](model, batches)


@pytest.mark.parametrize("name", ["score", "bic", "aic", "icl"])
def test_weights_of_batches_belong_to_the_batches(name: str, model: GaussianMixture) -> None:
    with pytest.raises(ValueError, match="sample_weight is given for X in batches, expected"):
        getattr(model, name)([X], sample_weight=WEIGHT)


def test_missing_values_in_batches() -> None:
    holes = np.where(RNG.uniform(size=X.shape) < 0.2, np.nan, X)
    model = GaussianMixture(2, missing="marginalize", random_state=0).fit(holes)
    for call in CRITERIA.values():
        assert call(model, (holes[rows] for rows in CUTS)) == call(model, holes)


@pytest.mark.parametrize("model_type", [np.float32, np.float64])
@pytest.mark.parametrize("data_type", [np.float32, np.float64, np.int16])
def test_dtypes(model_type: Any, data_type: Any) -> None:
    model = GaussianMixture(2, random_state=0).fit(X.astype(model_type))
    rows = (4 * X).astype(data_type)
    for call in CRITERIA.values():
        assert call(model, [rows]) == call(model, rows)


@pytest.mark.parametrize("certainty", ["map", "entropy"])
@pytest.mark.parametrize("n_features", [1, 3])
def test_icl_is_bic_and_the_uncertainty(certainty: Any, n_features: int) -> None:
    """The sums over rows are those of the whole array, whatever is evaluated at once."""
    n = 600_000  # with 4 components, more responsibilities than are computed at once
    rows = RNG.normal(size=(n, n_features)) + 3 * RNG.integers(3, size=(n, 1))
    rows[7] = 1e200  # a density of 0
    model = GaussianMixture.from_parameters(
        np.full(K, 1 / K), 2.0 * np.arange(K)[:, None] * np.ones(n_features),
        covariances=np.ones(K), covariance_type="spherical",
    )  # fmt: skip
    terms = log_certainties(model.predict_proba(rows), certainty)
    rows, terms = np.delete(rows, 7, axis=0), np.delete(terms, 7)
    assert model.icl(rows, certainty=certainty) == model.bic(rows) - 2 * float(terms.sum())
    foreign = np.asfortranarray(rows.astype(">f8"))
    assert model.icl(foreign, certainty=certainty) == model.icl(rows, certainty=certainty)


def test_a_row_without_density_is_certain() -> None:
    model = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [2.0]], covariances=[1.0, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.icl([[0.3], [1e200]]) == np.inf
        weighted = model.icl([[0.3], [1e200]], sample_weight=[1.0, 0.0])
    assert weighted == model.icl([[0.3]])


def test_batches_of_more_rows_than_are_summed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "_SCORED_ROWS", 1_000)
    model = GaussianMixture(2, random_state=0).fit(X)
    for call in CRITERIA.values():
        assert call(model, (X[rows] for rows in CUTS)) == call(model, X)


def test_icl_reads_batches_once(model: GaussianMixture) -> None:
    reads = []

    def opened() -> Iterator[np.ndarray]:
        for rows in CUTS:
            reads.append(len(rows))
            yield X[rows]

    for call in CRITERIA.values():
        reads.clear()
        call(model, opened)
        assert sum(reads) == N
