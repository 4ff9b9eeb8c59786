"""The libraries under comparison, each behind the same four calls.

A start with `n_iter` iterations means the same for all of them: `n_iter` E-steps, each followed by
an M-step, no regularisation, no stopping rule. What else a library does in a fit (validation, a
closing E-step) is in the time of a whole fit and cancels in the time of one iteration.
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
    weights: Array
    means: Array
    covariances: Array


class Fitted(NamedTuple):
    """A whole fit with default options: what it ended at, and after how many iterations."""

    parameters: Parameters
    n_iter: int


class Peer:
    """One library; a subclass says what it can do."""

    name: str
    package: str
    covariance_types: tuple[str, ...] = ALL_TYPES
    kinds: tuple[str, ...] = ("em", "latency", *SCORING)

    def __init__(self, n_threads: int = 1) -> None:
        self.set_threads(n_threads)

    def version(self) -> str:
        return importlib.metadata.version(self.package)

    def set_threads(self, n_threads: int) -> None:
        """What threadpoolctl and the environment cannot do for this library."""

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        raise NotImplementedError

    def scorer(self, problem: Problem) -> Callable[[], Array]:
        """The call that is timed in a scoring workload, on a model made beforehand."""
        raise NotImplementedError

    def default_fit(self, problem: Problem, seed: int, max_iter: int = 100) -> Fitted:
        raise NotImplementedError

    def warm_up(self) -> None:
        """A fit of almost nothing, so that what is loaded lazily is loaded."""
        tiny = Workload("tiny", n_samples=40, n_features=2, n_components=1)
        self.fit(make_problem(tiny), 1)

    def refusal(self, problem: Problem) -> str | None:
        """Why this library cannot take the problem, or None."""
        w = problem.workload
        if w.kind not in self.kinds:
            return f"has no {w.kind}"
        if w.covariance_type not in self.covariance_types:
            return f"has no covariance type {w.covariance_type}"
        return None


class Reference(Peer):
    """The textbook in NumPy that gmm_core brings along."""

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


class ScikitLearn(Peer):
    name = "sklearn"
    package = "scikit-learn"
    kinds = ("em", "latency", *SCORING, "fit")

    def __init__(self, n_threads: int = 1) -> None:
        super().__init__(n_threads)
        self.estimator = self._estimator()

    def _estimator(self) -> Any:
        return importlib.import_module("sklearn.mixture").GaussianMixture

    def _options(self) -> dict[str, Any]:
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
            warnings.simplefilter("ignore")  # ConvergenceWarning: the iterations are counted here
            return model.fit(problem.X)

    def _fit_from_start(self, problem: Problem, n_iter: int) -> Any:
        return self._fit(
            problem,
            tol=0.0,
            reg_covar=0.0,
            max_iter=n_iter,
            weights_init=problem.weights,
            means_init=problem.means,
            precisions_init=problem.precisions,
        )

    def fit(self, problem: Problem, n_iter: int) -> Parameters:
        model = self._fit_from_start(problem, n_iter)
        return Parameters(model.weights_, model.means_, model.covariances_)

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
        return Fitted(Parameters(model.weights_, model.means_, model.covariances_), model.n_iter_)


class GmmCore(ScikitLearn):
    name = "gmm_core"
    package = "gmm-core"

    def _estimator(self) -> Any:
        return importlib.import_module("gmm_core").GaussianMixture

    def _options(self) -> dict[str, Any]:
        return {"n_threads": self.n_threads}

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


class Daal4py(Peer):
    """oneDAL's em_gmm; its Python package is scikit-learn-intelex (daal4py before 2025)."""

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
    """pomegranate on torch. Its moments are not centred; it has no regularisation."""

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
        tensor = self.torch.tensor  # a copy: pomegranate updates parameters in place
        parts = [
            self.normal(tensor(mean), tensor(covariance), covariance_type=kind)
            for mean, covariance in zip(problem.means, problem.covariances, strict=True)
        ]
        priors = tensor(problem.weights)
        model = self.mixture(parts, priors=priors, max_iter=n_iter, tol=float("-inf"))
        # Without this its sums are float32, whatever the type of data and parameters.
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
