"""Give the libraries under comparison the same interface.

A fit of `n_iter` iterations means the same for all libraries: `n_iter` E-steps, each followed by an
M-step, without regularisation or a stopping rule. What else a library does in a fit (validation, an
E-step at the end) is part of the time of a whole fit, and cancels in the time of one iteration.
"""

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from workloads import SCORING, Array, Problem, Workload, make_problem

ALL_TYPES = ("full", "tied", "diag", "spherical")


class Parameters(NamedTuple):
    """The parameters of a mixture."""

    weights: Array
    means: Array
    covariances: Array


class Fitted(NamedTuple):
    """The end of a whole fit with default options, and its number of iterations."""

    parameters: Parameters
    n_iter: int


class Peer:
    """One library. A subclass says what the library can do.

    Attributes
    ----------
    name : str
        Name in tables.
    package : str
        Name of the installed package.
    covariance_types : tuple of str
        Covariance types that the library has.
    kinds : tuple of str
        Kinds of workloads that the library can run.

    Parameters
    ----------
    n_threads : int, default=1
        Number of threads.
    """

    name: str
    package: str
    covariance_types: tuple[str, ...] = ALL_TYPES
    kinds: tuple[str, ...] = ("em", "latency", *SCORING)

    def __init__(self, n_threads: int = 1) -> None:
        self.set_threads(n_threads)

    def version(self) -> str:
        """Return the version of the package."""
        return importlib.metadata.version(self.package)

    def set_threads(self, n_threads: int) -> None:
        """Limit the threads of this library where threadpoolctl and the environment cannot."""

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        """Run EM for a number of iterations from the start of the problem."""
        raise NotImplementedError

    def scorer(self, problem: Problem) -> Callable[[], Array]:
        """Return the call that a scoring workload times, on a model that is made here."""
        raise NotImplementedError

    def default_fit(self, problem: Problem, seed: int, max_iter: int = 100) -> Fitted:
        """Fit with default options."""
        raise NotImplementedError

    def warm_up(self) -> None:
        """Run a tiny fit, so that what is loaded lazily is loaded."""
        tiny = Workload("tiny", n_samples=40, n_features=2, n_components=1)
        self.fit(make_problem(tiny), 1)

    def refusal(self, problem: Problem) -> str | None:
        """Return why this library cannot take the problem, or None if it can."""
        w = problem.workload
        if w.kind not in self.kinds:
            return f"has no {w.kind}"
        if w.covariance_type not in self.covariance_types:
            return f"has no covariance type {w.covariance_type}"
        return None


class Reference(Peer):
    """`gmm_core.reference`, the textbook in NumPy."""

    name = "reference"
    package = "gmm-core"

    def __init__(self, n_threads: int = 1) -> None:
        super().__init__(n_threads)
        self.module = importlib.import_module("gmm_core.reference")

    def version(self) -> str:
        return f"NumPy {np.__version__}"

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        p = problem
        kind = p.workload.covariance_type
        options = {"tol": 0.0, "max_iter": n_iter, "reg_covar": 0.0}
        result = self.module.fit(p.X, p.weights, p.means, p.covariances, kind, **options)
        return Parameters(result.weights, result.means, result.covariances)

    def scorer(self, problem: Problem) -> Callable[[], Array]:
        p, r = problem, self.module
        kind = p.workload.covariance_type
        model = (p.weights, p.means, r.precision_cholesky(p.covariances, kind), kind)
        calls: dict[str, Callable[[], Array]] = {
            "score_samples": lambda: r.log_likelihood(p.X, *model),
            "predict": lambda: r.weighted_log_prob(p.X, *model).argmax(axis=1),
            "predict_proba": lambda: r.responsibilities(p.X, *model),
        }
        return calls[p.workload.kind]


def _parameters_of(model: Any) -> Parameters:
    """Return the parameters of an estimator with scikit-learn's attributes."""
    return Parameters(model.weights_, model.means_, model.covariances_)


class ScikitLearn(Peer):
    """scikit-learn's GaussianMixture."""

    name = "sklearn"
    package = "scikit-learn"
    kinds = ("em", "latency", *SCORING, "fit", "skip")

    def __init__(self, n_threads: int = 1) -> None:
        super().__init__(n_threads)
        self.estimator = self._estimator()

    def _estimator(self) -> Any:
        """Return the class of the estimator."""
        return importlib.import_module("sklearn.mixture").GaussianMixture

    def _options(self) -> dict[str, Any]:
        """Return parameters of the estimator that only this library has."""
        return {}

    def _fit(self, problem: Problem, **options: Any) -> Any:
        w = problem.workload
        model = self.estimator(
            w.n_components,
            covariance_type=w.covariance_type,
            **options,
            **self._options(),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no fit is meant to converge
            return model.fit(problem.X)

    def _fit_from_start(self, problem: Problem, n_iter: int) -> Any:
        return self._fit(
            problem,
            tol=0.0,
            reg_covar=problem.workload.reg_covar,
            max_iter=n_iter,
            weights_init=problem.weights,
            means_init=problem.means,
            precisions_init=problem.precisions,
        )

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        model = self._fit_from_start(problem, n_iter)
        return _parameters_of(model)

    def lower_bounds(self, problem: Problem, n_iter: int) -> Array:
        """Return the log-likelihood per sample that each iteration of such a fit has found."""
        return np.asarray(self._fit_from_start(problem, n_iter).lower_bounds_)

    def scorer(self, problem: Problem) -> Callable[[], Array]:
        model = self._fit_from_start(problem, 1)
        model.weights_, model.means_ = problem.weights, problem.means
        model.covariances_ = problem.covariances
        kind = problem.workload.covariance_type
        factors = importlib.import_module("gmm_core.reference").precision_cholesky
        model.precisions_cholesky_ = factors(problem.covariances, kind)
        method = getattr(model, problem.workload.kind)
        return lambda: method(problem.X)

    def default_fit(self, problem: Problem, seed: int, max_iter: int = 100) -> Fitted:
        model = self._fit(problem, random_state=seed, max_iter=max_iter)
        return Fitted(_parameters_of(model), model.n_iter_)


class GmmCore(ScikitLearn):
    """gmm_core's GaussianMixture, which has the same interface."""

    name = "gmm_core"
    package = "gmm-core"
    skip: str | bool = "auto"

    def _estimator(self) -> Any:
        return importlib.import_module("gmm_core").GaussianMixture

    def _options(self) -> dict[str, Any]:
        return {"n_threads": self.n_threads, "skip": self.skip}

    def set_threads(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def scorer(self, problem: Problem) -> Callable[[], Array]:
        p = problem
        model = self.estimator.from_parameters(
            p.weights,
            p.means,
            covariances=p.covariances,
            covariance_type=p.workload.covariance_type,
            **self._options(),
        )
        method = getattr(model, p.workload.kind)
        return lambda: method(p.X)


class Dense(GmmCore):
    """gmm_core's GaussianMixture that evaluates all pairs of samples and components."""

    name = "dense"
    kinds = ("skip",)
    skip = False


class Daal4py(Peer):
    """oneDAL's em_gmm. Its Python package is scikit-learn-intelex; before 2025 it was daal4py."""

    name = "daal4py"
    package = "scikit-learn-intelex"
    covariance_types = ("full", "diag")
    kinds = ("em", "latency")

    def __init__(self, n_threads: int = 1) -> None:
        self.module = importlib.import_module("daal4py")
        super().__init__(n_threads)

    def set_threads(self, n_threads: int) -> None:
        self.module.daalinit(n_threads)

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        p = problem
        full = p.workload.covariance_type == "full"
        algorithm = self.module.em_gmm(
            nComponents=len(p.weights),
            fptype="float" if p.workload.dtype == "float32" else "double",
            maxIterations=n_iter,
            accuracyThreshold=0.0,
            covarianceStorage="full" if full else "diagonal",
        )
        tables = list(p.covariances) if full else [c[np.newaxis] for c in p.covariances]
        result = algorithm.compute(p.X, p.weights[np.newaxis], p.means, tables)
        if int(result.nIterations[0, 0]) != n_iter:
            raise RuntimeError(f"{int(result.nIterations[0, 0])} iterations instead of {n_iter}")
        covariances = np.stack([c if full else c[0] for c in result.covariances])
        return Parameters(result.weights[0], result.means, covariances)


class Pomegranate(Peer):
    """pomegranate, which uses torch. It does not centre moments, and it has no regularisation."""

    name = "pomegranate"
    package = "pomegranate"
    covariance_types = ("full", "diag")

    def __init__(self, n_threads: int = 1) -> None:
        self.torch = importlib.import_module("torch")
        self.mixture = importlib.import_module("pomegranate.gmm").GeneralMixtureModel
        self.normal = importlib.import_module("pomegranate.distributions").Normal
        super().__init__(n_threads)

    def set_threads(self, n_threads: int) -> None:
        self.torch.set_num_threads(n_threads)

    def _model(self, problem: Problem, n_iter: int) -> Any:
        kind = problem.workload.covariance_type
        tensor = self.torch.tensor  # makes a copy, as pomegranate changes parameters in place
        parts = [
            self.normal(tensor(mean), tensor(covariance), covariance_type=kind)
            for mean, covariance in zip(problem.means, problem.covariances, strict=True)
        ]
        priors = tensor(problem.weights)
        model = self.mixture(parts, priors=priors, max_iter=n_iter, tol=float("-inf"))
        # Without this call, pomegranate computes its sums in float32 for any type of data.
        return model.double() if problem.workload.dtype == "float64" else model

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        model = self._model(problem, n_iter)
        model.fit(self.torch.from_numpy(problem.X))
        parts = model.distributions
        return Parameters(
            model.priors.numpy(),
            np.stack([part.means.numpy() for part in parts]),
            np.stack([part.covs.numpy() for part in parts]),
        )

    def scorer(self, problem: Problem) -> Callable[[], Array]:
        model, X = self._model(problem, 1), self.torch.from_numpy(problem.X)
        names = {"score_samples": "log_probability"}
        method = getattr(model, names.get(problem.workload.kind, problem.workload.kind))
        return lambda: method(X).numpy()
