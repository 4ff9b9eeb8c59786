"""Tests of accelerated fits: never below plain EM's step, fewer passes, and every kind of fit."""

from __future__ import annotations

import json
from functools import partial
from typing import get_args

import numpy as np
import pytest

from gmm_core import BayesianGaussianMixture, GaussianMixture, NumericalError, select
from gmm_core.core.errors import InvalidParameterError
from gmm_core.core.types import AccelerationName
from gmm_core.data.arrays import ArrayPass
from gmm_core.data.passes import KernelPass
from gmm_core.fit.acceleration import accelerated
from gmm_core.fit.coordinates import coordinates_of_mixtures
from gmm_core.fit.loop import iterate
from gmm_core.fit.maximization import maximum_likelihood
from gmm_core.model.attributes import mixture_from
from gmm_core.model.covariance import COVARIANCE_TYPES

pytestmark = [
    pytest.mark.filterwarnings("ignore:Best performing"),
    pytest.mark.filterwarnings("ignore:component:UserWarning"),
]
TYPES = ("full", "tied", "diag", "spherical")
FOURTEEN = (
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV",
)  # fmt: skip
ARRAYS = ("weights_", "means_", "covariances_", "precisions_cholesky_")
K = 4


def overlapping(n=1_500, D=2, seed=0):
    """Return groups that overlap so much that plain EM takes hundreds of passes."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(K, D, D)) / np.sqrt(D)
    labels = rng.integers(K, size=n)
    noise = np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(n, D)))
    return rng.normal(size=(K, D))[labels] + noise + rng.normal(size=(n, D)) / 2


FEWER = {"squarem": 1.5, "lbfgs": 2.0}  # so many times fewer passes than plain EM, at least
PARAMS = {"max_iter": 10_000, "random_state": 0}


@pytest.fixture(params=get_args(AccelerationName))
def method(request):
    """Return each acceleration in turn."""
    return request.param


@pytest.fixture
def model(method):
    """Return a function that makes a mixture; it is accelerated unless its parameters say otherwise."""
    return partial(GaussianMixture, n_components=K, tol=1e-9, acceleration=method, **PARAMS)


@pytest.fixture
def bayesian(method):
    """Return a function that makes an accelerated Bayesian mixture."""
    return partial(BayesianGaussianMixture, n_components=6, tol=1e-6, acceleration=method, **PARAMS)


def assert_same(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.lower_bounds_ == other.lower_bounds_ and one.lower_bound_ == other.lower_bound_
    assert one.n_iter_ == other.n_iter_ and one.converged_ == other.converged_


def n_rejected(fitted):
    """Return the number of rejected trials, which repeat the bound before."""
    return int((np.diff(fitted.lower_bounds_) == 0).sum())


@pytest.fixture
def passes(monkeypatch):
    """Return a list that grows by an entry for each E-step."""
    made, expectation = [], KernelPass.expectation
    monkeypatch.setattr(
        KernelPass, "expectation", lambda *args: made.append(1) or expectation(*args)
    )
    return made


# --- the likelihood and the passes ----------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", (*TYPES, *FOURTEEN))
def test_fewer_passes_and_not_below_plain_em(covariance_type, model):
    X = overlapping(D=3)
    plain = model(covariance_type=covariance_type, reg_covar=0, acceleration=None).fit(X)
    fast = model(covariance_type=covariance_type, reg_covar=0).fit(X)
    assert fast.converged_ and fast.n_iter_ < 0.7 * plain.n_iter_
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-8
    rounding = 1e-12 * abs(fast.lower_bound_)
    assert (np.diff([*fast.lower_bounds_, fast.lower_bound_]) >= -rounding).all()
    assert not fast._model().prepared.kind.violation(fast.covariances_, K, 3)


@pytest.mark.parametrize(("method", "factor"), [("squarem", 3), ("lbfgs", 10)])
def test_a_slow_fit_takes_several_times_fewer_passes(model, factor):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 1)) + rng.choice([-1.0, 0.0, 1.0], (2_000, 1))
    plain, fast = model(n_components=3, acceleration=None).fit(X), model(n_components=3).fit(X)
    assert plain.n_iter_ > 1_000 and fast.n_iter_ < plain.n_iter_ / factor
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-8


@pytest.mark.parametrize("seed", range(4))
def test_rejected_passes_count(passes, seed, model):
    X = overlapping(seed=seed)
    fast = model(tol=1e-11, reg_covar=0).fit(X)
    assert fast.n_iter_ == len(fast.lower_bounds_) == len(passes)
    assert n_rejected(fast)


def test_every_max_iter_ends_with_a_step_of_em(model):
    """A trial that no pass has evaluated is not the result."""
    X = overlapping()
    n_iter = model(reg_covar=0).fit(X).n_iter_
    bounds = []
    for max_iter in range(1, n_iter + 1):
        fast = model(reg_covar=0, max_iter=max_iter).fit(X)
        assert fast.n_iter_ == max_iter
        assert fast.lower_bound_ >= fast.lower_bounds_[-1] - 1e-13
        bounds.append(fast.lower_bound_)
    assert (np.diff(bounds) >= -1e-13).all()


@pytest.mark.parametrize("scale", [0.1, 0.01, 0.003])
def test_no_more_passes_where_reg_covar_lowers_the_likelihood(scale, model):
    """If `reg_covar` is not small beside the variances, steps of EM may lower the likelihood."""
    X = scale * overlapping()
    plain, fast = model(acceleration=None).fit(X), model().fit(X)
    assert fast.converged_ and fast.n_iter_ < plain.n_iter_
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-5


def test_a_large_tolerance_is_that_of_plain_em(model):
    X = overlapping()
    assert_same(model(tol=1e-3).fit(X), model(tol=1e-3, acceleration=None).fit(X))


def test_bad_values(model):
    for value in ("SQUAREM", "anderson", True, 1):
        with pytest.raises(InvalidParameterError, match="'acceleration' parameter of Gaussian"):
            model(acceleration=value).fit(overlapping())


# --- trials -----------------------------------------------------------------------------------------


def algorithm_and_start(X, covariance_type="full", **params):
    params |= {"covariance_type": covariance_type, "max_iter": 0, "random_state": 0}
    start = GaussianMixture(K, **params).fit(X)
    mixture = mixture_from(vars(start), covariance_type, 1)
    return maximum_likelihood(ArrayPass(X, None, K, covariance_type, 1), 0.0), mixture


@pytest.mark.parametrize("failing", ["expectation", "maximization"])
def test_failing_trials_fall_back_to_plain_em(failing, method):
    """If every trial fails, the fit is plain EM with a further pass for each trial."""
    algorithm, start = algorithm_and_start(overlapping())
    plain = iterate(algorithm, start, tol=1e-9, max_iter=5_000)
    coordinates, made = coordinates_of_mixtures(start.kind, 0.0, 1), []

    def parameters(*args):
        made.append(coordinates.parameters(*args))
        return made[-1]

    def fails(step, place, *args):
        if any(args[place] is trial for trial in made):
            raise NumericalError("the trial is no mixture")
        return step(*args)

    place = 0 if failing == "expectation" else 1
    step = partial(fails, getattr(algorithm, failing), place)
    failing_algorithm = accelerated(
        algorithm._replace(**{failing: step}), coordinates._replace(parameters=parameters), method
    )
    fast = iterate(failing_algorithm, start, tol=1e-9, max_iter=5_000)
    assert fast.converged and len(made) > 3
    assert len(fast.lower_bounds) == len(plain.lower_bounds) + len(made)
    assert [b for b in np.unique(fast.lower_bounds)] == [b for b in np.unique(plain.lower_bounds)]
    np.testing.assert_array_equal(fast.parameters.means, plain.parameters.means)


def test_trials_in_vain_take_few_passes(method):
    """The pauses after rejected trials double, so that their number is logarithmic."""
    algorithm, start = algorithm_and_start(overlapping())
    plain = iterate(algorithm, start, tol=1e-9, max_iter=5_000)
    far = coordinates_of_mixtures(start.kind, 0.0, 1)
    away = far._replace(
        parameters=lambda point, moved, before: far.parameters(
            point._replace(means=point.means + 100.0), moved, before
        )
    )
    fast = iterate(accelerated(algorithm, away, method), start, tol=1e-9, max_iter=5_000)
    n_trials = len(fast.lower_bounds) - len(plain.lower_bounds)
    assert 3 <= n_trials <= np.log2(len(plain.lower_bounds)) + 1
    assert fast.lower_bound == plain.lower_bound


@pytest.mark.parametrize("covariance_type", FOURTEEN)
def test_trials_are_members_of_the_model(covariance_type, method):
    X = overlapping(D=3)
    kind = COVARIANCE_TYPES[covariance_type]
    algorithm, start = algorithm_and_start(X, covariance_type)
    coordinates, made = coordinates_of_mixtures(kind, 0.0, 1), []

    def parameters(*args):
        made.append(coordinates.parameters(*args))
        return made[-1]

    recorded = coordinates._replace(parameters=parameters)
    iterate(accelerated(algorithm, recorded, method), start, tol=1e-11, max_iter=5_000)
    assert len(made) > 3
    for trial in made:
        assert not kind.violation(trial.covariances, K, 3)
        assert not kind.flaw_of_factor(trial.prepared.precisions_cholesky)
        _, again = kind.precisions_and_covariances(trial.prepared.precisions_cholesky)
        np.testing.assert_allclose(again, trial.covariances, rtol=1e-9, atol=1e-12)


def test_squarem_extrapolates_from_two_steps_of_em():
    """Test the trials two steps after a kept trial; the origin is then where these steps begin."""
    algorithm, start = algorithm_and_start(overlapping(seed=5), "spherical")
    coordinates, kind, seen, made = coordinates_of_mixtures(start.kind, 0.0, 1), start.kind, [], []

    def parameters(point, moved, before):
        made.append((before, coordinates.parameters(point, moved, before)))
        return made[-1][1]

    def expectation(mixture):
        seen.append(mixture)
        return algorithm.expectation(mixture)

    def position(mixture, origin):
        U, V = mixture.prepared.precisions_cholesky, origin.prepared.precisions_cholesky
        of_factor = kind.coordinates(U, kind.inverse_of_factor(V), 2)
        means = kind.whiten_each(mixture.means - origin.means, V)
        log_ratios = np.log(mixture.weights / origin.weights)[:, np.newaxis]
        return np.sqrt(origin.weights)[:, np.newaxis] * np.hstack([log_ratios, means, of_factor])

    recorded = coordinates._replace(parameters=parameters)
    fast = accelerated(algorithm._replace(expectation=expectation), recorded, "squarem")
    iterate(fast, start, tol=1e-11, max_iter=5_000)
    place = {id(mixture): i for i, mixture in enumerate(seen)}
    fallbacks = {place[id(trial)]: before for before, trial in made}
    alphas = []
    for theta_2, trial in made:
        i = place[id(trial)]
        theta, theta_1 = seen[i - 2], seen[i - 1]
        if i - 3 not in fallbacks or theta is fallbacks[i - 3]:
            continue
        r = position(theta_1, theta)
        v = position(theta_2, theta) - 2 * r
        alphas.append(-min(max(1, np.sqrt((r**2).sum() / (v**2).sum())), 24))
        expected = -2 * alphas[-1] * r + alphas[-1] ** 2 * v
        difference = position(trial, theta) - expected
        tolerance = 1e-9 * abs(expected).max() + 4 * 24**2 * 1e-15  # the factor is that of α² v
        np.testing.assert_allclose(difference[:, 1:], 0, atol=tolerance)
        # The weights have been scaled to sum to 1.
        of_scale = difference[:, 0] / np.sqrt(theta.weights)
        np.testing.assert_allclose(of_scale, of_scale[0], rtol=0, atol=10 * tolerance)
    assert len(alphas) > 5 and min(alphas) == -24 and max(alphas) > -10


@pytest.mark.parametrize("covariance_type", TYPES)
def test_coordinates_of_factors(covariance_type):
    """Any numbers are coordinates, and their length is that of the information at the origin."""
    rng = np.random.default_rng(0)
    kind, D = COVARIANCE_TYPES[covariance_type], 3
    A = rng.normal(size=(K, D, D))
    S = np.einsum("kij,klj->kil", A, A) + np.eye(D)
    covariances = {"full": S, "tied": S[0], "diag": S[:, [0, 1, 2], [0, 1, 2]], "spherical": S[:, 0, 0]}
    origin = kind.factor_covariances(covariances[covariance_type], D)
    inverse = kind.inverse_of_factor(origin)
    n_rows = len(kind.coordinates(origin, inverse, D))
    assert n_rows == (1 if covariance_type == "tied" else K)
    assert not np.round(kind.coordinates(origin, inverse, D), 12).any()
    differences = rng.normal(size=(K, D))
    for k in range(K):
        whitened = kind.whiten(differences[k : k + 1], kind.of_component(origin, k))[0]
        np.testing.assert_allclose(kind.whiten_each(differences, origin)[k], whitened, rtol=1e-12)
    back = kind.whiten_each(kind.whiten_each(differences, origin), inverse)
    np.testing.assert_allclose(back, differences, rtol=1e-10)

    x = rng.normal(size=kind.coordinates(origin, inverse, D).shape)
    if covariance_type in ("full", "tied"):
        x *= np.triu(np.ones((D, D))).ravel()
    factor = kind.factor_at(x, origin, D)
    assert not kind.flaw_of_factor(factor)
    np.testing.assert_allclose(kind.coordinates(factor, inverse, D), x, rtol=1e-9, atol=1e-9)

    near = kind.factor_at(1e-4 * x, origin, D)
    for row in range(n_rows):
        P = kind.matrix(kind.precisions_and_covariances(near)[0], row, D)
        C = kind.matrix(kind.precisions_and_covariances(origin)[1], row, D)
        divergence = (np.trace(P @ C) - D - np.linalg.slogdet(P @ C)[1]) / 2
        assert 2 * divergence == pytest.approx(1e-8 * (x[row] ** 2).sum(), rel=1e-2)


# --- every kind of fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", TYPES)
def test_bits_do_not_depend_on_threads_nor_on_batches(covariance_type, model):
    X = overlapping(n=9_000)
    params = {"covariance_type": covariance_type, "init_size": 2_000, "tol": 1e-7}
    one = model(n_threads=1, **params).fit(X)
    assert one.n_iter_ < model(acceleration=None, **params).fit(X).n_iter_
    assert_same(model(n_threads=3, **params).fit(X), one)
    assert_same(model(**params).fit_batches([X[:1_234], X[1_234:]]), one)


@pytest.mark.parametrize("scale", [1e-140, 1e-8, 1e8, 1e140])
def test_extreme_units(scale, model):
    """Coordinates do not depend on the units of the data."""
    X = overlapping()
    fast = model(reg_covar=0, tol=1e-7, covariance_type="diag").fit(X)
    scaled = model(reg_covar=0, tol=1e-7, covariance_type="diag").fit(X * scale)
    assert scaled.converged_
    assert scaled.lower_bound_ + 2 * np.log(scale) == pytest.approx(fast.lower_bound_, abs=1e-5)


def test_one_component_and_duplicate_rows(model):
    X = np.repeat([[0.0, 1.0], [2.0, 3.0], [2.0, 5.0]], 20, axis=0)
    for n_components in (1, 2, 3):
        fast = model(n_components=n_components, tol=0, max_iter=200).fit(X)
        plain = model(n_components=n_components, tol=0, max_iter=200, acceleration=None).fit(X)
        assert fast.lower_bound_ >= plain.lower_bound_ - 1e-12


def test_float32(model):
    X = overlapping().astype(np.float32)
    fast = model(tol=1e-7).fit(X)
    assert fast.means_.dtype == np.float32
    assert fast.n_iter_ < model(tol=1e-7, acceleration=None).fit(X).n_iter_ / 2


def test_sample_weight_zero_is_absence(model):
    X, weight = overlapping(), np.random.default_rng(0).integers(0, 3, 1_500).astype(float)
    plain = model(acceleration=None).fit(X, sample_weight=weight)
    fast = model().fit(X, sample_weight=weight)
    assert fast.n_iter_ < plain.n_iter_ / 2 and fast.lower_bound_ >= plain.lower_bound_ - 1e-8


@pytest.mark.parametrize("covariance_type", (*TYPES, "VEV"))
def test_missing_values(covariance_type, model, method):
    X = overlapping(D=3)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    params = {"covariance_type": covariance_type, "missing": "marginalize", "tol": 1e-8}
    plain, fast = model(acceleration=None, **params).fit(X), model(**params).fit(X)
    assert fast.converged_ and fast.n_iter_ < plain.n_iter_ / FEWER[method]
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-7


def test_noise(model):
    rng = np.random.default_rng(1)
    X = np.concatenate([overlapping(), rng.uniform(-6, 6, (150, 2))])
    plain, fast = model(noise=True, acceleration=None).fit(X), model(noise=True).fit(X)
    assert fast.n_iter_ < plain.n_iter_ / 2 and fast.lower_bound_ >= plain.lower_bound_ - 1e-8
    assert fast.weights_.sum() + fast.noise_weight_ == pytest.approx(1, abs=1e-12)


def test_a_weight_of_zero_stays(model):
    X = overlapping()
    params = {"weights_init": [0.3, 0.0, 0.4, 0.3], "means_init": X[:K]}
    plain, fast = model(acceleration=None, **params).fit(X), model(**params).fit(X)
    assert fast.weights_[1] == 0 and fast.n_iter_ < plain.n_iter_ / 2
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-8


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "VEV"])
def test_fixed_parameters_keep_their_bits(covariance_type, model):
    X = overlapping()
    start = model(covariance_type=covariance_type, max_iter=0).fit(X)
    some = np.arange(K) < 2
    for fixed in ({"weights": some, "means": some}, {"covariances"}, {"means"}, {"weights"}):
        fast = model(
            covariance_type=covariance_type, fixed=fixed, weights_init=start.weights_,
            means_init=start.means_, precisions_init=start.precisions_,
        ).fit(X)  # fmt: skip
        assert fast.converged_ and fast.n_iter_ > 5
        first = model(
            covariance_type=covariance_type, fixed=fixed, weights_init=start.weights_,
            means_init=start.means_, precisions_init=start.precisions_, max_iter=0,
        ).fit(X)  # fmt: skip
        for name in fixed:
            rows = fixed[name] if isinstance(fixed, dict) else slice(None)
            attribute = f"{name}_"
            np.testing.assert_array_equal(
                getattr(fast, attribute)[rows], getattr(first, attribute)[rows]
            )
        assert fast.weights_.sum() == pytest.approx(1, abs=1e-12)


def test_known_labels(model, method):
    X = overlapping()
    labels = np.full(len(X), -1)
    labels[:40] = np.arange(40) % K
    plain, fast = model(labels_init=labels, acceleration=None).fit(X), model(labels_init=labels).fit(X)
    assert fast.n_iter_ < plain.n_iter_ / FEWER[method] and fast.lower_bound_ >= plain.lower_bound_ - 1e-8


def test_starts_short_runs_and_swaps(model):
    X = overlapping()
    for params in ({"n_init": 3}, {"n_short": 5, "n_init": 2}, {"n_swaps": 3}):
        fast = model(init_params="random_from_data", **params).fit(X)
        assert fast.converged_ and fast.n_iter_ == len(fast.lower_bounds_)
        again = model(init_params="random_from_data", **params).fit(X)
        assert_same(again, fast)


def test_select(method):
    X, params = overlapping(), {"tol": 1e-8, "max_iter": 10_000, "random_state": 0}
    plain = select(X, [3, 4], ["full", "VEE"], **params).table
    fast = select(X, [3, 4], ["full", "VEE"], acceleration=method, **params).table
    assert sum(row.n_iter for row in fast) < sum(row.n_iter for row in plain) / 2


def test_a_warm_start_begins_anew(model):
    X = overlapping()
    fast = model(max_iter=40, warm_start=True).fit(X)
    while not fast.converged_:
        before = fast.lower_bound_
        fast.fit(X)
        assert fast.lower_bound_ >= before - 1e-12
    assert fast.fit(X).n_iter_ <= 3


def test_files_keep_the_parameter(tmp_path, model, method):
    fast = model(max_iter=5).fit(overlapping())
    fast.save(tmp_path / "model.npz")
    assert GaussianMixture.load(tmp_path / "model.npz").acceleration == method


# --- Bayesian mixtures ---------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["scikit-learn", "conjugate"])
@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_bayesian(covariance_type, prior, posterior, bayesian):
    X = overlapping()
    params = {
        "covariance_type": covariance_type, "weight_concentration_prior_type": prior,
        "posterior": posterior, "reg_covar": 0,
    }  # fmt: skip
    plain, fast = bayesian(acceleration=None, **params).fit(X), bayesian(**params).fit(X)
    assert fast.converged_ and fast.n_iter_ < plain.n_iter_ / 2
    assert fast.lower_bound_ >= plain.lower_bound_ - 1e-2
    if posterior == "conjugate":
        assert (np.diff(fast.lower_bounds_) >= -1e-12 * abs(fast.lower_bound_)).all()
        assert fast.lower_bound_ == pytest.approx(fast.elbo_, rel=1e-12)


def test_bayesian_batches_missing_and_moves(bayesian):
    X = overlapping(n=9_000)
    one = bayesian(init_size=2_000).fit(X)
    other = bayesian(init_size=2_000).fit_batches([X[:1_234], X[1_234:]])
    assert_same(other, one)
    assert bayesian(moves=True, init_size=2_000).fit(X).lower_bound_ >= one.lower_bound_
    X = overlapping()
    X[::7, 0] = np.nan
    plain = bayesian(missing="marginalize", acceleration=None, tol=1e-4).fit(X)
    assert bayesian(missing="marginalize", tol=1e-4).fit(X).n_iter_ < plain.n_iter_ / 2


def test_memoized_fits_refuse_it(bayesian, method):
    with pytest.raises(ValueError, match=f"acceleration='{method}' cannot be combined with memoized"):
        bayesian().fit_batches([overlapping()], memoized=True)


# --- checkpoints ---------------------------------------------------------------------------------


class Interrupt(Exception):
    pass


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """Return a function that stops a fit after `n_steps` E-steps, and returns the checkpoint's path."""

    def run(n_steps, fit):
        path, count = tmp_path / "state", iter(range(n_steps))
        expectation = KernelPass.expectation

        def limited(self, *args):
            if next(count, None) is None:
                raise Interrupt
            return expectation(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(KernelPass, "expectation", limited)
            with pytest.raises(Interrupt):
                fit(path)
        return path

    return run


@pytest.mark.parametrize("make", ["model", "bayesian"])
@pytest.mark.parametrize("params", [{}, {"covariance_type": "tied"}, {"covariance_type": "diag"}])
def test_a_resumed_fit_is_bit_identical(interrupted, model, bayesian, make, params):
    X, make = overlapping(), {"model": model, "bayesian": bayesian}[make]
    whole = make(**params).fit(X)
    assert n_rejected(whole) or isinstance(whole, BayesianGaussianMixture)
    last = whole.n_iter_ - 2
    for n_steps in (*range(8, min(last, 30), 5), last):
        path = interrupted(
            n_steps, lambda path: make(checkpoint=path, checkpoint_interval=1, **params).fit(X)
        )
        assert path.exists()
        assert_same(make(checkpoint=path, **params).fit(X), whole)


def test_noise_and_several_starts_resume(interrupted, model):
    X = overlapping()
    params = {"noise": 0.01, "n_init": 3, "init_params": "random_from_data"}
    whole = model(**params).fit(X)
    for n_steps in (20, 45, 90, 130):
        path = interrupted(
            n_steps, lambda path: model(checkpoint=path, checkpoint_interval=1, **params).fit(X)
        )
        assert_same(model(checkpoint=path, **params).fit(X), whole)


def test_another_acceleration_or_tolerance_is_refused(interrupted, model, method):
    X = overlapping()
    path = interrupted(20, lambda path: model(checkpoint=path, checkpoint_interval=1).fit(X))
    for other in {None, *get_args(AccelerationName)} - {method}:
        with pytest.raises(ValueError, match=f"its acceleration is {method}, and here it is {other}"):
            model(checkpoint=path, acceleration=other).fit(X)
    with pytest.raises(ValueError, match="its tol is 1e-09, and here it is 1e-08"):
        model(checkpoint=path, tol=1e-8).fit(X)
    with pytest.raises(ValueError, match="max_iter is 10"):
        model(checkpoint=path, max_iter=10).fit(X)
    assert_same(model(checkpoint=path, max_iter=9_999).fit(X), model(max_iter=9_999).fit(X))


def rewrite(path, change):
    """Change the contents of a checkpoint; `change` gets the header and the arrays as dicts."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    change(header, arrays)
    with open(path, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)
    return header, arrays


BAD_ARRAYS = {
    "origin_weights": [lambda a: -a, lambda a: a[:2], lambda a: a * np.nan],
    "origin_means": [lambda a: a[:, :1], lambda a: a * np.inf],
    "origin_factor": [lambda a: -a, lambda a: a[:1], lambda a: a.swapaxes(1, 2), lambda a: a * np.nan],
    "steps": [lambda a: a[2:], lambda a: a[:, 1:], lambda a: a * np.nan, lambda a: a.astype(str)],
    "fallback_means": [lambda a: a[:1], lambda a: a * np.nan],
}
BAD_FIELDS = {
    "radius": [None, -1, float("nan"), "a", True],
    "pause": [None, -1, 1.5, True],
    "next_pause": [None, 0, 1.5],
    "n_passes": [None, -1, "a"],
    "trial": [-1, float("nan"), "a"],
    "n_pairs": [0, -1, 1.5, "a"],
}


@pytest.fixture
def with_trial(interrupted, model, method):
    """Return the path of a checkpoint whose next pass is a trial, and a function that resumes it."""
    X = overlapping()

    def fit(path):
        return model(checkpoint=path, checkpoint_interval=1).fit(X)

    for n_steps in range(25, 45):
        path = interrupted(n_steps, fit)
        _, arrays = rewrite(path, lambda header, arrays: None)
        if "fallback_means" in arrays and len(arrays["steps"]) > (6 if method == "lbfgs" else 3):
            return path, fit
    raise AssertionError("there is no trial")


def test_a_damaged_memory_is_refused(with_trial):
    path, fit = with_trial
    state = path.read_bytes()

    def assert_refused(change):
        path.write_bytes(state)
        rewrite(path, change)
        with pytest.raises(ValueError, match="state is not a checkpoint of gmm_core: "):
            fit(path)

    for name, changes in BAD_ARRAYS.items():
        assert_refused(lambda header, arrays, name=name: arrays.pop(name))
        for change in changes:
            assert_refused(
                lambda header, arrays, name=name, change=change: arrays.update(
                    {name: np.ascontiguousarray(change(arrays[name]))}
                )
            )
    for name, values in BAD_FIELDS.items():
        assert_refused(lambda header, arrays, name=name: header["acceleration"].pop(name))
        for value in values:
            assert_refused(
                lambda header, arrays, name=name, value=value: header["acceleration"].update(
                    {name: value}
                )
            )
    assert_refused(lambda header, arrays: header.pop("acceleration"))
    assert_refused(lambda header, arrays: header.update(version=2))
    path.write_bytes(state)
    assert_same(fit(path), fit(None))


def test_plain_checkpoints_have_the_version_of_before(interrupted, model):
    """A file that was written before there were accelerated fits still loads."""
    X = overlapping()
    path = interrupted(
        20, lambda path: model(acceleration=None, checkpoint=path, checkpoint_interval=1).fit(X)
    )
    header, arrays = rewrite(path, lambda header, arrays: header["identity"].pop("acceleration"))
    assert header["version"] == 2 and not any("origin" in name for name in arrays)
    assert_same(model(acceleration=None, checkpoint=path).fit(X), model(acceleration=None).fit(X))
