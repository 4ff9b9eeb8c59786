"""The public estimator, with the names and the behaviour of scikit-learn's class."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from gmm_core.core.errors import not_fitted_error
from gmm_core.core.random import check_random_state
from gmm_core.core.threads import effective_n_threads
from gmm_core.core.types import (
    AccelerationName,
    CovarianceName,
    Float64Array,
    FloatArray,
    Labels,
    MissingName,
    Names,
    Out,
    SkipName,
    StartName,
)
from gmm_core.data.batches import checked_batches, refuse_weights_of_batches
from gmm_core.data.foreign import ForeignRows, check_rows, whole
from gmm_core.data.measurement import with_noise
from gmm_core.data.parameter_validation import mixture_of_arguments
from gmm_core.data.validation import check_sample_weight, is_batches
from gmm_core.distribution import Distribution
from gmm_core.fit import run, stream
from gmm_core.fit.fixed import check_fixed
from gmm_core.fit.loop import Fit
from gmm_core.fit.options import InitCallable, Options, options_of
from gmm_core.fit.restarts import Restart
from gmm_core.fit.result import attributes_of, present, set_attributes
from gmm_core.fit.stepwise import rows_of_first_fit
from gmm_core.fit.watching import Callback
from gmm_core.infer import outputs, score
from gmm_core.infer.draw import draw
from gmm_core.infer.outputs import Method
from gmm_core.infer.score import Certainty, FittedMixture, Rows, Score
from gmm_core.infer.summary import Parameters, Summary, components_html, summary
from gmm_core.io import npz
from gmm_core.io.c_header import to_c
from gmm_core.io.constants import Constants, constants_of
from gmm_core.io.onnx import to_onnx
from gmm_core.io.sklearn import to_sklearn
from gmm_core.model.attributes import (
    ArrayAttribute,
    CovarianceAttribute,
    CovarianceTypeAttribute,
    Kept,
    checked,
    dtype_of,
    mixture_from,
    prepared_of,
)
from gmm_core.model.covariance import COVARIANCE_TYPES, type_by_shape
from gmm_core.model.noise import Box
from gmm_core.model.parameters import Prepared

if TYPE_CHECKING:
    from onnx import ModelProto
    from sklearn.mixture import GaussianMixture as SklearnGaussianMixture
    from sklearn.utils import Tags


class GaussianMixture(Distribution):
    """A Gaussian mixture p(x) = Σ_k π_k N(x | μ_k, Σ_k), fitted by expectation-maximisation (EM).

    The E-step computes the responsibilities of the components for the samples x_n,
    r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j). The M-step computes from them

    - the counts N_k = Σ_n w_n r_nk, where w_n is the weight of sample n,
    - the weights π_k = N_k / Σ_n w_n,
    - the means μ_k = Σ_n w_n r_nk x_n / N_k, and
    - the covariances Σ_k = Σ_n w_n r_nk (x_n − μ_k)(x_n − μ_k)ᵀ / N_k + diag(reg_covar).

    These Σ_k are 'full'. The 'tied' covariance is their mean, weighted by N_k. 'diag' variances are
    their diagonals, and 'spherical' variances are the means of these diagonals.

    With K components and D features, the number of free parameters is K − 1 + K D + C, where C is
    K D (D + 1) / 2 for 'full', D (D + 1) / 2 for 'tied', K D for 'diag', and K for 'spherical'.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, or one of mclust's names, \
default='full'
        'full' has a covariance matrix for each component, 'tied' one matrix for all components,
        'diag' a variance for each component and feature, 'spherical' a variance for each component.
        The fourteen models EII, VII, EEI, VEI, EVI, VVI, EEE, VEE, EVE, VVE, EEV, VEV, EVV and VVV
        say for the volume, the shape and the orientation of the covariances whether they are equal
        in all components (E), vary (V), or are those of the identity (I). VII is 'spherical', VVI
        'diag', EEE 'tied' and VVV 'full'. Data of one feature have the models E and V as well.
    tol : float, default=1e-3
        EM stops when the mean log-likelihood changes by less than `tol` in an iteration, in nats
        per sample.
    reg_covar : float or array-like of shape (n_features,), default=1e-6
        Regularisation that is added to the diagonal of every covariance, in squared units of the
        data, before covariances are made equal in volume, shape or orientation. An array has a
        number for each feature; its mean is added to the variance of a spherical type. With
        ``1e-6 * X.var(axis=0)``, the regularisation is relative to the scale of each feature. With
        a `noise_covariance` it acts more strongly, because an iteration then takes a small variance
        v only a part of the way, v² / s where s is the variance of the noise: a component that
        measures less than its noise keeps at least about ∛(reg_covar · s²). With noise in all
        directions of all samples, the likelihood is bounded, and 0 is a good choice.
    max_iter : int, default=100
        Largest number of iterations of EM. With 0, the fitted model is the start of EM.
    n_init : int, default=1
        Number of starts, of which the one with the largest log-likelihood is kept. A start that
        fails numerically is skipped with a warning.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'hierarchical'} or \
callable, default='kmeans'
        The method that finds a start. 'kmeans' makes the start from the clusters of k-means, which
        runs until its centers move little (as in scikit-learn, with `tol=1e-4` and at most 300
        iterations). If there are 2 S rows or more, with S = max(8192, 512 · `n_components`), its
        seeds and its first 5 iterations are those of a random subset of S rows.
        'k-means++' and 'random_from_data' take samples as means, chosen by k-means++ or at random,
        with the covariance of all data. 'random' draws random responsibilities. 'hierarchical'
        merges rows into clusters by model-based agglomeration (Fraley 1998), with the default
        criterion and the default scaling of mclust: VVV and SVD. It has no random part but the
        choice of the rows if there are more than `init_size`, so that one start is enough. Its time
        and its memory (4 bytes) grow with the square of the number of rows. It counts a weight as a
        number of rows. The unit is the smallest weight if all weights are whole multiples of it,
        and otherwise the mean weight. A callable
        ``f(X, n_components, random_state)`` returns responsibilities of shape
        (n_samples, n_components) or integer labels of shape (n_samples,). X contains only rows of
        positive weight (at most `init_size` rows). The result has one entry for each row of this X.
        If the data have at most `init_size` rows, it may instead have one entry for each of them,
        including those of weight 0. With `noise`, responsibilities may have one more column, that
        of the noise, and labels may be -1.
    weights_init : array-like of shape (n_components,), 'equal' or None, default=None
        Weights to start from. They replace those that `init_params` finds. 'equal' means
        1 / n_components for each. With `noise`, they may sum to less than 1, and the rest is the
        weight of the noise.
    means_init : array-like of shape (n_components, n_features) or None, default=None
        Means to start from. They replace those that `init_params` finds.
    precisions_init : array-like in the shape of `covariances_`, or None, default=None
        Inverse covariances to start from. They replace those that `init_params` finds.
    random_state : int, RandomState or None, default=None
        Seed of the starts, of `sample` and of `impute`. None means NumPy's global generator.
    warm_start : bool, default=False
        If True and the model is fitted, `fit` makes a single start from the present parameters and
        ignores `n_init`, `n_short` and `init_params`.
    verbose : int or bool, default=0
        With 1, `fit` prints a line for each start and for every `verbose_interval`-th iteration.
        With 2, it also prints times and changes of the log-likelihood.
    verbose_interval : int, default=10
        Number of iterations from one printed line to the next.
    n_threads : int or None, default=None
        Number of threads. None means as many as the CPU affinity and the container's quota allow,
        but no more than OMP_NUM_THREADS or a limit of threadpoolctl. Negative numbers count back
        from the number of CPUs that the affinity and the quota allow: -1 means all of them, -2 all
        but one. A larger number is reduced to four times the number of allowed CPUs. Results are
        bit-identical for any number of threads.
    missing : {'error', 'marginalize'}, default='error'
        The meaning of NaN in X. With 'error', NaN is an error. With 'marginalize', it is a value
        that is missing at random, which is integrated out exactly in `fit` and in all methods that
        use the model. A callable `init_params` gets X with the means of the features in place of
        NaN. Data without NaN are not affected. Masked values of masked arrays count as NaN.
    init_size : int or None, default=None
        Largest number of rows from which `init_params` finds a start. Larger data are divided into
        `init_size` consecutive parts of equal total weight, and one row is drawn from each part
        with probability proportional to its weight. None means 3,000,000 / (n_features + 4), but at
        least 10 · n_components · n_features. For 'hierarchical', None means 2,000, but at least
        n_components.
    n_short : int, default=0
        Number of short runs (Biernacki, Celeux & Govaert 2003). If positive, EM makes 5 iterations
        from each of `n_short` starts, and goes on only from the `n_init` with the largest
        log-likelihood, so `n_short` is at least `n_init`. A short run that fails numerically is
        skipped with a warning; if fewer than `n_init` succeed, the others count as failed starts.
        A warm start and `partial_fit` make no short runs.
    n_swaps : int, default=0
        Number of random swaps (Zhao, Hautamäki & Fränti 2012) after EM has ended from a start. A
        swap moves the component that costs the least log-likelihood to a sample of low density, and
        runs EM again, for at most `max_iter` iterations. EM is given up early if it is unlikely to
        reach the log-likelihood before the swap. A swap is kept if it raises the log-likelihood and
        no component collapses, so that swaps never lower the log-likelihood. Samples are drawn from
        the rows that `init_params` uses (see `init_size`). `partial_fit` makes no swaps.
    checkpoint : str, path or None, default=None
        Path of a file for the state of a fit. The file is replaced, in one step, after every
        `checkpoint_interval`-th iteration, and deleted when the fit has ended. If it exists when a
        fit of the same model to the same data begins, the fit is resumed from it, and the result
        is bit-identical to that of an uninterrupted fit. `tol` and `max_iter` may be different
        from before as long as the fit still passes through the saved state. For example, `max_iter`
        can be raised if the fit was interrupted in its first start. If the file is not a checkpoint
        of this model and these data, `fit` raises ValueError. Data are recognised by a digest,
        which takes a pass over them, and callable starts by their names. Only one fit at a time may
        use the file. `n_short` and `n_swaps` cannot be combined with a checkpoint.
    checkpoint_interval : int, default=10
        Number of iterations between two checkpoints.
    learning_decay : float in (0.5, 1], default=0.6
        The exponent α of the step sizes of `partial_fit`.
    forget_factor : float in (0, 1] or None, default=None
        Factor for data that drift. In `partial_fit`, the weight of a sample is multiplied by this
        factor once for each sample after it, so that about 1 / (1 - forget_factor) samples are
        remembered. If `forget_factor` is given, `learning_decay` has no effect.

    noise : bool or float, default=False
        With True, the mixture has a noise component as well. Its density is uniform, 1 / V, in the
        region of the data, and its weight is π₀ = 1 − Σ_k π_k. V is the volume of the box along the
        features or of the box along the principal axes, whichever is smaller, as in mclust. A
        number is a density that takes the place of 1 / V. `predict`, `predict_proba` and
        `noise_proba` take the density of the noise to be the same everywhere, so that a sample far
        away from the data is noise. For `score_samples` and the scores it is 0 outside of the box,
        so that the density of the mixture integrates to 1; a density that is given has no box. The
        noise counts as two free parameters. Missing values, `partial_fit`, `impute`, `to_sklearn`,
        `to_onnx` and `to_c` do not take it.
    labels_init : array-like of shape (n_samples,) or None, default=None
        The component of each sample, as an int, in place of `init_params`. If all samples have a
        label, the fit starts from these labels and may then leave them. A label of -1 means that
        the component is unknown. If there are such samples, the fit is semi-supervised: the other
        samples keep their component, and count with their joint density π_k N(x | μ_k, Σ_k) in
        `lower_bound_`, from which `select` takes its criteria. The labels are not saved. They do
        not go together with missing values, `noise_covariance`, Dask collections, `partial_fit`,
        nor, if some are unknown, with `noise`.
    fixed : set of str, dict of str to bool array, or None, default=None
        Parameters that EM leaves as they are at the start: names among 'weights', 'means' and
        'covariances', or masks of shape (n_components,) by these names, for some of the components.
        `weights_init`, `means_init` and `precisions_init` give their values, or in a warm start the
        fitted mixture. Fixed parameters are not free ones. ``weights_init='equal',
        fixed={'weights'}`` is a mixture of equal weights. `partial_fit` and `n_swaps` do not take
        fixed parameters, and `noise` no fixed weights.
    skip : {'auto', False}, default='auto'
        Whether the E-steps of `fit` and `fit_batches` skip pairs of a sample and a component whose
        responsibility is too small to change a count or a moment by more than a rounding error.
        'auto' looks for such pairs, and skips them if that saves at least a tenth of the time by an
        estimate, as where clusters are separated. The samples are then summed in another order,
        which changes results by rounding errors. It takes up to half of the memory of X, or 32 MB
        for batches, maps of files, and each worker of a Dask cluster. Passes over data with missing
        values or with `noise_covariance` skip nothing. With at least 32 components and full
        covariances, `score_samples`, `score`, `predict`, `bic` and `aic` skip pairs too, with the
        same results to the last bit.
    acceleration : {'squarem', 'lbfgs'} or None, default=None
        With 'squarem', EM is accelerated by SQUAREM, which extrapolates from two steps of EM
        (Varadhan & Roland 2008). With 'lbfgs', it is accelerated by limited-memory BFGS, for which
        the step of EM takes the place of the gradient (Jamshidian & Jennrich 1997). Where EM is
        slow, that is for overlapping components and a small `tol`, the fit takes several times
        fewer passes over the data. 'lbfgs' usually takes the fewest. Passes that gain more than
        2e-4 nats per sample are followed by a step of EM, so that a fit with a larger `tol` is the
        same as without acceleration. Extrapolated parameters are kept if the log-likelihood there
        is not lower than that of the pass before, up to what `reg_covar` costs. Otherwise the fit
        goes on from the step of EM that this pass made, and the rejected pass counts as an
        iteration. The fit converges when a step of EM itself changes the log-likelihood by less
        than `tol`. Where there are several local optima, it may end in another one than plain EM.
        Short runs are not accelerated, nor are the steps of `partial_fit`. A checkpoint of an
        accelerated fit is resumed with the same `tol` only.
    callback : callable, list of callables, or None, default=None
        Called as ``callback(state)`` after each iteration, with a `FitState`: the numbers of the
        iteration and of the start, the log-likelihood, the time, and the parameters on demand.
        If it returns True, the fit stops after this iteration: other starts, short runs and swaps
        are left out, the best parameters so far are kept, and there is no warning. If it raises an
        error, `fit` raises it, and the estimator is unchanged. Several callbacks are called in
        turn. When the fit has ended in any way, the method `close` of a callback that has one is
        called. `ProgressBar` is such a callback. A file written by `save` has no callback, and
        `partial_fit` calls none.
    time_limit : float or None, default=None
        Number of seconds after which the fit stops: it ends with the iteration in which this time
        is passed, as if a callback had stopped it, but with a warning if EM has not converged. At
        least one iteration is made. `restarts_` has the starts that were made, and `stopped` of the
        last one tells why it ended early. With a `checkpoint`, a fit that is stopped early leaves
        its file, and the next `fit` goes on from there. `partial_fit` has no time limit.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Weights π_k, which sum to 1 if there is no noise. Like all fitted arrays, they are float32
        after a fit to float32, else float64.
    means_ : ndarray of shape (n_components, n_features)
        Means μ_k.
    covariances_ : ndarray
        Covariances Σ_k, of shape (n_components, n_features, n_features) for 'full',
        (n_features, n_features) for 'tied', (n_components, n_features) for 'diag', and
        (n_components,) for 'spherical'. Models whose name ends in II have the last shape, other
        models that end in I that of 'diag', EEE that of 'tied', E and V that of 'spherical', and
        all others that of 'full'.
    volume_, shape_, orientation_ : ndarray
        Volumes λ_k (n_components,), shapes A_k (n_components, n_features) in descending order, and
        orientations D_k (n_components, n_features, n_features) with a principal axis in each
        column, of Σ_k = λ_k D_k diag(A_k) D_kᵀ. Spherical covariances have volumes only, diagonal
        ones volumes and shapes.
    precisions_ : ndarray
        Inverse covariances Σ_k⁻¹, in the shape of `covariances_`.
    precisions_cholesky_ : ndarray
        Factors of the precisions, in the shape of `covariances_`: upper triangular U_k with
        U_k U_kᵀ = Σ_k⁻¹ for 'full' and 'tied', reciprocal standard deviations for 'diag' and
        'spherical'. Methods use these together with `weights_` and `means_`. An assignment to one
        of `covariances_`, `precisions_` and `precisions_cholesky_` replaces all three: the other
        two are derived from it.
    n_samples_seen_ : float
        Total weight of the samples in the last `fit` and in all `partial_fit` since then. After
        `from_parameters`, the given mixture counts as 20 · n_components · n_features samples in
        `partial_fit`.
    converged_ : bool
        Whether EM converged within `max_iter` iterations. In a stream of `partial_fit`, it is
        False.
    n_iter_ : int
        Number of iterations of the start that was kept, including those of its short run and those
        in which `acceleration` rejected a mixture. Each of them is a pass over the data. If a swap
        was kept, it is the number of iterations since the last such swap. In a stream of
        `partial_fit`, it is the number of M-steps so far.
    lower_bound_ : float
        Mean log-likelihood of the training samples under the fitted parameters, in nats. In a
        stream of `partial_fit`, it is that of the last part of the samples, under the parameters
        before the model learned from them.
    lower_bounds_ : list of float
        The mean log-likelihood at the beginning of each of these iterations, before its M-step. An
        iteration in which `acceleration` rejected a mixture has that of the iteration before, to
        which the fit went back. In a stream of `partial_fit`, the list is empty.
    noise_weight_, noise_log_density_ : float
        Weight π₀ of the noise, and the logarithm of its density. Without noise these attributes do
        not exist.
    noise_box_ : Box
        The box of the noise, in which the coordinates axesᵀ (x − origin) go from `low` to `high`.
        It exists after a fit with ``noise=True``.
    restarts_ : list of Restart
        Results of the starts, after their swaps, with `log_likelihood`, `n_iter`, `converged`,
        `failure`, and `smallest_eigenvalue`, the smallest eigenvalue of the covariances.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,), object
        Names of the features. The attribute exists only if X had column names.

    See Also
    --------
    gmm_core.dask.GaussianMixture : The same estimator for Dask collections.

    References
    ----------
    C. M. Bishop, Pattern Recognition and Machine Learning (2006), section 9.2.2.
    M. Jamshidian, R. I. Jennrich, Acceleration of the EM algorithm by using quasi-Newton methods,
    Journal of the Royal Statistical Society B 59 (1997), for `acceleration`.
    R. Varadhan, C. Roland, Simple and globally convergent methods for accelerating the convergence
    of any EM algorithm, Scandinavian Journal of Statistics 35 (2008), for `acceleration`.
    J. D. Banfield, A. E. Raftery, Model-based Gaussian and non-Gaussian clustering, Biometrics 49
    (1993), for the noise.

    Examples
    --------
    >>> import numpy as np
    >>> from gmm_core import GaussianMixture
    >>> X = np.array([[0.0, 1], [1, 3], [2, 2], [10, 1], [11, 3], [12, 2]])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> sorted(gm.means_.round(6).tolist())
    [[1.0, 2.0], [11.0, 2.0]]
    """

    # The result of the last check of the fitted attributes. As it is not in vars(self), it is
    # neither copied nor pickled.
    __slots__ = ("_kept",)
    _kept: Kept | None

    covariance_type = CovarianceTypeAttribute()
    weights_ = ArrayAttribute()
    means_ = ArrayAttribute()
    covariances_ = CovarianceAttribute()
    precisions_ = CovarianceAttribute()
    precisions_cholesky_ = CovarianceAttribute()
    n_samples_seen_: float
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    restarts_: list[Restart]
    n_features_in_: int
    feature_names_in_: Names
    noise_log_density_: float
    noise_weight_: float
    noise_box_: Box

    _metadata: ClassVar[tuple[str, ...]] = ("sample_weight", "noise_covariance")

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: CovarianceName = "full",
        tol: float = 1e-3,
        reg_covar: float | npt.ArrayLike = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: StartName | InitCallable = "kmeans",
        weights_init: npt.ArrayLike | Literal["equal"] | None = None,
        means_init: npt.ArrayLike | None = None,
        precisions_init: npt.ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        n_threads: int | None = None,
        missing: MissingName = "error",
        init_size: int | None = None,
        n_short: int = 0,
        n_swaps: int = 0,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: int = 10,
        learning_decay: float = 0.6,
        forget_factor: float | None = None,
        noise: bool | float = False,
        labels_init: npt.ArrayLike | None = None,
        fixed: Iterable[str] | Mapping[str, Any] | None = None,
        skip: SkipName = "auto",
        acceleration: AccelerationName | None = None,
        callback: Callback | Sequence[Callback] | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads
        self.missing = missing
        self.init_size = init_size
        self.n_short = n_short
        self.n_swaps = n_swaps
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.learning_decay = learning_decay
        self.forget_factor = forget_factor
        self.noise = noise
        self.labels_init = labels_init
        self.fixed = fixed
        self.skip = skip
        self.acceleration = acceleration
        self.callback = callback
        self.time_limit = time_limit

    # --- fitting ----------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: object = None,
        sample_weight: npt.ArrayLike | None = None,
        noise_covariance: npt.ArrayLike | None = None,
    ) -> Self:
        """Fit the mixture by EM, from `n_init` starts.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            A fit to float32 computes in float32, with sums in float64; a fit to float64 or any
            other numbers computes in float64. C-ordered arrays of these two dtypes are not
            copied. Lists, arrays of objects, and data frames with other than numeric columns are
            always copied. Other arrays and data frames are copied if the copy takes at most 32 MB,
            or if there is a `noise_covariance`; larger ones are converted in parts during every
            pass.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample. A row of weight 0 is
            treated as absent, and a row of weight 2 as two equal rows.
        noise_covariance : array-like, default=None
            The known covariances S_n of the measurement noise: x_n = v_n + e_n, where v_n has the
            density of the mixture and e_n ~ N(0, S_n). The mixture is fitted to the density of v_n
            (extreme deconvolution). Variances have the shape (n_samples, n_features), covariances
            (n_samples, n_features, n_features), and one covariance for all samples (n_features,
            n_features). The noise of a value that is missing is not read. The start subtracts the
            mean variance of the noise from the variances of each component, at most nine tenths of
            them.

        Returns
        -------
        self : GaussianMixture
            The fitted model.

        Raises
        ------
        ValueError, TypeError
            If an argument or a parameter of the constructor is invalid, or all starts fail. The
            estimator is then unchanged.
        OSError
            If the file `checkpoint` cannot be read or written. The estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning
            If EM has not converged within `max_iter` iterations.
        UserWarning
            If a component has no samples, or has collapsed onto few samples; and for each start
            that fails, if there are several.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture(2, random_state=0).fit([[0.0], [1.0], [8.0], [9.0]])
        >>> gm.converged_, sorted(gm.means_.round(3).ravel().tolist())
        (True, [0.5, 8.5])

        The noise has the standard deviation 2, and its variance is not part of the mixture's.

        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(5000, 1)) + 2 * rng.normal(size=(5000, 1))
        >>> gm = GaussianMixture(tol=1e-6).fit(X, noise_covariance=np.full(X.shape, 4.0))
        >>> round(float(X.var()), 1), round(float(gm.covariances_[0, 0, 0]), 1)
        (5.1, 1.1)
        """

        def fit(watch: Callback | None) -> None:
            result, _ = run.fit_array(
                self._options(), vars(self), X, sample_weight, watch,
                noise_covariance=noise_covariance,
            )  # fmt: skip
            result.keep_in(self)

        self._watched(fit, X, y, sample_weight)
        return self

    def fit_batches(self, batches: Any) -> Self:
        """Fit the mixture to data that come in batches; batch sizes do not affect the result.

        Every pass over the data reads each batch once. The first pass checks and counts the
        samples. At most one pass reads the rows from which starts are found. Each iteration takes
        one pass, or two if a mean moves so far that the sums have to be computed again for their
        accuracy. At the end of each start, one more pass computes its log-likelihood. A checkpoint
        takes one further pass, and ``noise=True`` three.

        Parameters
        ----------
        batches : iterable, callable or dataset of pyarrow
            An iterable that can be iterated over repeatedly, such as a list; or a callable that
            returns an iterable or an iterator for each pass; or an object with a method
            `to_batches` or `iter_batches`, as datasets, tables and Parquet files of pyarrow have.
            A batch is an array-like of shape (n_samples, n_features), with any number of samples,
            or a tuple (array, sample_weight) or (array, sample_weight, noise_covariance), in which
            sample_weight may be None. If all batches are float32, the computation is in
            float32. The dtypes must be the same in every pass.

        Returns
        -------
        self : GaussianMixture
            The fitted model, bit-identical to that of `fit` on all batches together.

        Raises
        ------
        ValueError, TypeError
            For the same reasons as in `fit`; the message then has the number of the batch. Also if
            batches have different features, if they can be iterated over only once, or if they have
            another number of samples, other weights or other dtypes in a later pass. The estimator
            is then unchanged.
        OSError
            If the file `checkpoint` cannot be read or written. The estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning, UserWarning
            For the same reasons as in `fit`, and if only some of the batches have feature names.

        Examples
        --------
        >>> import numpy as np
        >>> from gmm_core import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> gm = GaussianMixture(2, random_state=0).fit_batches([X[:100], X[100:]])
        >>> bool((gm.means_ == GaussianMixture(2, random_state=0).fit(X).means_).all())
        True
        """

        def fit(watch: Callback | None) -> None:
            run.fit_batches(self._options(), vars(self), batches, watch).keep_in(self)

        self._watched(fit)
        return self

    def fit_predict(
        self,
        X: Any,
        y: object = None,
        sample_weight: npt.ArrayLike | None = None,
        noise_covariance: npt.ArrayLike | None = None,
    ) -> Labels:
        """Fit the mixture, and return the component of each sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            See `fit`.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            See `fit`.
        noise_covariance : array-like, default=None
            See `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            The labels that `predict` returns for X after the fit.

        Raises
        ------
        ValueError, TypeError, OSError
            For the same reasons as in `fit`. The estimator is then unchanged.

        Warns
        -----
        ConvergenceWarning, UserWarning
            For the same reasons as in `fit`.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> labels = GaussianMixture(2, random_state=0).fit_predict([[0.0], [1.0], [8.0], [9.0]])
        >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
        True
        """

        def fit(watch: Callback | None) -> Labels:
            result, rows = run.fit_array(
                self._options(), vars(self), X, sample_weight, watch,
                noise_covariance=noise_covariance,
            )  # fmt: skip
            fitted = present(result.attributes)
            prepared = prepared_of(fitted, self.covariance_type, self.n_threads)
            labels = score.labels(rows, self._using(prepared))
            result.keep_in(self)
            return labels

        return self._watched(fit, X, y, sample_weight)

    def partial_fit(
        self, X: Any, y: object = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Learn from further samples by stepwise EM, without keeping them.

        A call processes its samples in parts of at most 20 · n_components · n_features rows. For
        each part it updates the running mean of the statistics, s ← (1 − γ) s + γ s(X), and makes
        one M-step. Sample n has the step γ(n) = 1 / n up to n₀ = 10 times the number of free
        parameters, and γ(n) = n₀^(α − 1) / n^α after that, where α is `learning_decay`. A part
        makes the steps of its samples at once, so the division into parts hardly matters.

        The first samples are collected. The mixture is fitted to them as soon as there are as many
        samples as components (but at least two), and again whenever their number has grown by half.
        The last of these fits is made with 20 · n_components · n_features samples, from at least
        ten starts. These fits make no short runs and no swaps (see `n_short` and `n_swaps`). After
        `fit`, `from_parameters` or `load`, the stream begins with the present mixture.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Any number of samples. One call with many samples is faster than many calls with few.
            Parts with missing values take longer than others.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights. They count relative to the mean weight in the first fit (after
            `from_parameters`, in the first batch), so that only their proportions matter, as in
            `fit`.

        Returns
        -------
        self : GaussianMixture
            The model. It is not fitted yet if too few samples have been collected.

        Raises
        ------
        ValueError, TypeError
            If an argument or a parameter of the constructor is invalid, if a fit to the first
            samples fails, or if a later step fails numerically. The estimator is then unchanged.

        Warns
        -----
        UserWarning
            If a component has collapsed onto few samples when the stream begins, or if only one of
            X and the model has feature names.

        References
        ----------
        O. Cappé, E. Moulines, On-line expectation-maximization algorithm for latent data models,
        J. R. Statist. Soc. B 71 (2009). P. Liang, D. Klein, Online EM for unsupervised models,
        NAACL (2009).

        Examples
        --------
        >>> import numpy as np
        >>> from gmm_core import GaussianMixture
        >>> rng, gm = np.random.default_rng(0), GaussianMixture(2, random_state=0)
        >>> for _ in range(20):
        ...     gm = gm.partial_fit(rng.normal(size=(100, 1)) + rng.choice([-5, 5], (100, 1)))
        >>> sorted(gm.means_.round().ravel().tolist())
        [-5.0, 5.0]
        """
        if self.noise or "noise_log_density_" in vars(self):
            raise ValueError(
                "partial_fit does not take noise, but "
                + (f"noise={self.noise!r}" if self.noise else "the fitted mixture has noise")
            )
        for name in ("labels_init", "fixed"):
            if getattr(self, name) is not None:
                raise ValueError(f"partial_fit does not take {name}")
        changes = stream.learn(
            self._options(), vars(self), X, sample_weight,
            lambda X: whole(self._rows(X)),
        )  # fmt: skip
        set_attributes(self, changes)
        return self

    # --- using a fitted mixture --------------------------------------------------------------

    def predict(
        self, X: Any, noise_covariance: npt.ArrayLike | None = None, out: Out = None
    ) -> Labels:
        """Return the component with the largest responsibility for each sample: argmax_k r_nk.

        The noise, if there is any, is component −1. Among equal responsibilities, the component
        with the lowest number is returned. See `predict_proba` for the responsibilities r_nk.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples. Batches are what `fit_batches` takes, or an iterator over batches, such as
            a generator. They are read once, and their weights have no effect. The result is then an
            iterator that yields the array of each batch.
        noise_covariance : array-like, default=None
            The covariances of the measurement noise of the samples; see `fit`. Component k then
            has the density N(x_n | μ_k, Σ_k + S_n). None means no noise. The noise of batches is
            given with each batch.
        out : ndarray, str, path or None, default=None
            An array for the result, such as a map of a file, or the name of a .npy file. The array
            has the shape and the dtype of the result for all samples, is C-contiguous, and does not
            overlap X; if an error is raised, it may be filled in part. The file is written by
            batches and replaces an older one in one step when it is complete.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Numbers of components, from 0, and −1 for the noise. It is `out`, or a map of the file,
            if that is given. For batches without `out`, an iterator over such arrays. Results for
            batches are bit-identical to those for all samples together. (If some samples lack
            values, and a batch has none that do, its results agree up to rounding.)

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `fit` would not accept X, X has other features than the training data, or `out`
            cannot hold the result. If the reason lies in a batch, the message has its number, and
            an iterator raises the error when it comes to this batch.
        OSError
            If the file cannot be written. An older file is then unchanged.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [9.0]], covariances=[1.0, 1.0])
        >>> gm.predict([[1.0], [8.0]]).tolist()
        [0, 1]
        >>> [labels.tolist() for labels in gm.predict([[[1.0], [8.0]], [[9.0]]])]
        [[0, 1], [1]]
        """
        labels: Labels = self._results(outputs.PREDICT, X, noise_covariance, out)
        return labels

    def predict_proba(
        self, X: Any, noise_covariance: npt.ArrayLike | None = None, out: Out = None
    ) -> FloatArray:
        """Return the responsibilities r_nk = π_k N(x_n | μ_k, Σ_k) / Σ_j π_j N(x_n | μ_j, Σ_j).

        A sample that is so far from all components that its squared distances overflow belongs to
        the nearest component, as this is the limit of the responsibilities.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `predict` for batches.
        noise_covariance : array-like, default=None
            The covariances of the measurement noise of the samples; see `fit`. Component k then
            has the density N(x_n | μ_k, Σ_k + S_n). None means no noise.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the result; see `predict`.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)
            The probability of each component given the sample; `noise_proba` returns that of the
            noise. The dtype is float32 if both X and `means_` are float32, else float64.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [2.0]], covariances=[1.0, 1.0])
        >>> gm.predict_proba([[1.0], [2.0]]).round(3).tolist()
        [[0.5, 0.5], [0.119, 0.881]]
        """
        r: FloatArray = self._results(outputs.PREDICT_PROBA, X, noise_covariance, out)
        return r

    def noise_proba(self, X: Any, out: Out = None) -> FloatArray:
        """Return the probability that a sample is noise, given the sample.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `predict` for batches.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the result; see `predict`.

        Returns
        -------
        responsibilities : ndarray of shape (n_samples,)
            The responsibility of the noise, which is 0 if there is none. With those of
            `predict_proba` it sums to 1.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.9], [[0.0]], covariances=[1.0], noise=0.01)
        >>> gm.noise_proba([[0.0], [9.0]]).round(3).tolist(), gm.predict([[0.0], [9.0]]).tolist()
        ([0.003, 1.0], [0, -1])
        """
        r: FloatArray = self._results(outputs.NOISE_PROBA, X, out=out)
        return r

    def score_samples(
        self, X: Any, noise_covariance: npt.ArrayLike | None = None, out: Out = None
    ) -> FloatArray:
        """Return the log-likelihood of each sample, log p(x) = log Σ_k π_k N(x | μ_k, Σ_k).

        A noise component of weight π₀ adds π₀ / V to the density of the samples in its box.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `predict` for batches.
        noise_covariance : array-like, default=None
            The covariances of the measurement noise of the samples; see `fit`. Component k then
            has the density N(x_n | μ_k, Σ_k + S_n). None means no noise.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the result; see `predict`.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            Log-likelihoods in nats; −inf for a sample whose squared distances from all components
            overflow. The dtype is float32 if both X and `means_` are float32, else float64.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[1.0])
        >>> gm.score_samples([[0.0], [1.0]]).round(3).tolist()
        [-0.919, -1.419]
        """
        values: FloatArray = self._results(outputs.SCORE_SAMPLES, X, noise_covariance, out)
        return values

    def score(
        self,
        X: Any,
        y: object = None,
        sample_weight: npt.ArrayLike | None = None,
        noise_covariance: npt.ArrayLike | None = None,
    ) -> float:
        """Return the mean log-likelihood of the samples, Σ w log p(x) / Σ w.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples. Batches are what `fit_batches` takes, or an iterator over batches, such as
            a generator, because they are read once.
        y : object, default=None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights w; None means a weight of 1 for each sample. Weights of
            batches are given with each batch.
        noise_covariance : array-like, default=None
            See `score_samples`. The noise of batches is given with each batch.

        Returns
        -------
        log_likelihood : float
            The mean in nats per sample, computed in float64 for any dtype of X.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `sample_weight` is invalid. If the reason
            lies in a batch, the message has its number.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[1.0])
        >>> round(gm.score([[0.0], [1.0]]), 3)
        -1.169
        >>> round(gm.score(iter([[[0.0]], [[1.0]]])), 3)
        -1.169
        """
        return self._scored(X, sample_weight, noise_covariance=noise_covariance).mean

    def bic(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        noise_covariance: npt.ArrayLike | None = None,
    ) -> float:
        """Return the Bayesian information criterion, −2 log L + n_parameters · log n.

        Here log L = Σ_n w_n log p(x_n) is the log-likelihood of the samples with weights w_n,
        n = Σ_n w_n their total weight (the number of samples by default), and n_parameters the
        number of free parameters of the mixture.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `score` for batches.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample.
        noise_covariance : array-like, default=None
            See `score`.

        Returns
        -------
        bic : float
            The criterion. Of several models, the one with the lowest criterion is preferred.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `sample_weight` is invalid.

        References
        ----------
        G. Schwarz, Estimating the dimension of a model, Ann. Statist. 6 (1978).

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> X = [[0.0], [1.0], [8.0], [9.0]]
        >>> one, two = (GaussianMixture(k, random_state=0).fit(X).bic(X) for k in (1, 2))
        >>> two < one
        True
        """
        scored = self._scored(X, sample_weight, noise_covariance=noise_covariance)
        return scored.bic(self._n_parameters())

    def aic(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        noise_covariance: npt.ArrayLike | None = None,
    ) -> float:
        """Return the Akaike information criterion, −2 log L + 2 n_parameters.

        Here log L = Σ_n w_n log p(x_n) is the log-likelihood of the samples with weights w_n, and
        n_parameters the number of free parameters of the mixture.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `score` for batches.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; None means a weight of 1 for each sample.
        noise_covariance : array-like, default=None
            See `score`.

        Returns
        -------
        aic : float
            The criterion. Of several models, the one with the lowest criterion is preferred.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if `sample_weight` is invalid.

        References
        ----------
        H. Akaike, A new look at the statistical model identification, IEEE Trans. Autom. Control
        19 (1974).

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[1.0])
        >>> round(gm.aic([[0.0], [1.0]]), 3)    # two free parameters, a mean and a variance
        8.676
        """
        scored = self._scored(X, sample_weight, noise_covariance=noise_covariance)
        return scored.aic(self._n_parameters())

    def icl(
        self,
        X: Any,
        sample_weight: npt.ArrayLike | None = None,
        certainty: Certainty = "map",
        noise_covariance: npt.ArrayLike | None = None,
    ) -> float:
        """Return the integrated completed likelihood, BIC − 2 Σ_n w_n log max_k r_nk.

        It prefers components that are well apart. The model with the lowest ICL is the best;
        mclust's criterion is this one with the sign changed.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `score` for batches.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights w_n; they are 1 by default.
        certainty : {'map', 'entropy'}, default='map'
            'entropy' takes BIC − 2 Σ_n w_n Σ_k r_nk log r_nk.
        noise_covariance : array-like, default=None
            See `score`.

        Returns
        -------
        icl : float

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.

        References
        ----------
        C. Biernacki, G. Celeux, G. Govaert, Assessing a mixture model for clustering with the
        integrated completed likelihood, IEEE Trans. Pattern Anal. Mach. Intell. 22 (2000).

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [9.0]], covariances=[1.0, 1.0])
        >>> gm.icl([[0.0], [9.0]]) - gm.bic([[0.0], [9.0]]) < 1e-15
        True
        """
        score.check_certainty(certainty)
        scored = self._scored(X, sample_weight, certainty, noise_covariance)
        return scored.icl(self._n_parameters())

    @property
    def n_parameters(self) -> int:
        """Number of free parameters, without those that are fixed; the noise counts as two."""
        return self._n_parameters()

    def summary(self, X: Any, sample_weight: npt.ArrayLike | None = None) -> Summary:
        """Return the figures of the model for samples, which are printed as a table.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The samples, usually those of `fit`.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; they are 1 by default.

        Returns
        -------
        summary : Summary
            A named tuple with `log_likelihood`, `n_parameters`, `bic`, `aic`, `icl`, `counts` and
            others. The criteria have scikit-learn's sign: lower is better.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As from `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> X = [[0.0], [1.0], [2.0], [8.0], [9.0]]
        >>> GaussianMixture(2, random_state=0, tol=1e-8).fit(X).summary(X)  # doctest: +ELLIPSIS
        Gaussian mixture of 2 components, full covariances,
        fitted by EM (converged after ... iterations)
        <BLANKLINE>
        samples  log-likelihood  parameters    BIC    AIC    ICL
              5           -8.47           5  24.98  26.93  24.98
        <BLANKLINE>
        Samples by component
        ...
        """
        scored = self._scored(X, sample_weight, "map")
        weight = check_sample_weight(sample_weight, len(X))
        history = bool(vars(self).get("converged_", False)), int(vars(self).get("n_iter_", 0))
        return summary(
            scored, self.predict(X), weight, self._n_parameters(), self._shown(), history
        )

    def impute(self, X: Any, sample: bool = False, out: Out = None) -> FloatArray:
        """Fill missing values from their distribution given the rest of the sample.

        The conditional mean of the missing features is Σ_k r_k (μ_km + Σ_kmo Σ_koo⁻¹ (x_o − μ_ko)),
        where m are the missing and o the observed features of a sample, and r_k its
        responsibilities given x_o. A draw from the conditional distribution takes a component
        k ~ r and then x_m ~ N(μ_km + Σ_kmo Σ_koo⁻¹ (x_o − μ_ko), Σ_kmm − Σ_kmo Σ_koo⁻¹ Σ_kom). NaN
        is a missing value here for any value of the parameter `missing`.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            Samples in which NaN is a missing value; see `predict` for batches.
        sample : bool, default=False
            With False, a missing value is replaced by its conditional mean; with True, by a draw
            from the conditional distribution, for which `random_state` is the seed. The draws for
            batches are those of one generator that goes on from batch to batch, so that they depend
            on the batch sizes.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the result; see `predict`.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            A copy, in which only NaN has been replaced. The dtype is float32 if both X and `means_`
            are float32, else float64.

        Raises
        ------
        TypeError
            If `sample` is not a bool.
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters(
        ...     [1.0], [[0.0, 0.0]], covariances=[[[1.0, 0.5], [0.5, 1.0]]]
        ... )
        >>> gm.impute([[2.0, float("nan")]]).round(6).tolist()
        [[2.0, 1.0]]
        """
        if not isinstance(sample, (bool, np.bool_)):
            raise TypeError(f"sample must be True or False, got {sample!r}")
        random_state = check_random_state(self.random_state) if sample else None
        if self._model().prepared.noise is not None:
            raise ValueError("impute does not take a mixture with noise")
        method = outputs.impute(random_state)
        filled: FloatArray = self._results(method, X, out=out, allow_nan=True)
        return filled

    @overload
    def denoise(
        self, X: Any, noise_covariance: Any = None, return_cov: Literal[False] = False,
        out: Out = None,
    ) -> FloatArray: ...

    @overload
    def denoise(
        self, X: Any, noise_covariance: Any = None, *, return_cov: Literal[True], out: None = None
    ) -> tuple[FloatArray, FloatArray]: ...

    @overload
    def denoise(
        self, X: Any, noise_covariance: Any, return_cov: Literal[True], out: None = None
    ) -> tuple[FloatArray, FloatArray]: ...

    def denoise(
        self,
        X: Any,
        noise_covariance: npt.ArrayLike | None = None,
        return_cov: bool = False,
        out: Out = None,
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Return the posterior means of the samples without their measurement noise.

        A sample x = v + e has the noise e ~ N(0, S). Given x and component k, v has the mean
        b_k = μ_k + Σ_k (Σ_k + S)⁻¹ (x − μ_k) and the covariance B_k = Σ_k − Σ_k (Σ_k + S)⁻¹ Σ_k.
        The posterior mean of v is Σ_k r_k b_k, where r_k are the responsibilities given x and S.
        NaN is a missing value for any value of the parameter `missing`, and is filled.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), or batches
            The samples; see `predict` for batches.
        noise_covariance : array-like, default=None
            The covariances of their measurement noise; see `fit`. They may be left out only for
            batches, which are then tuples (array, sample_weight, noise_covariance).
        return_cov : bool, default=False
            Whether the posterior covariances are returned too.
        out : ndarray, str, path or None, default=None
            An array or a .npy file for the means; see `predict`. It cannot be given together with
            `return_cov`.

        Returns
        -------
        mean : ndarray of shape (n_samples, n_features)
            The posterior means. The dtype is float32 if both X and `means_` are float32, else
            float64.
        cov : ndarray of shape (n_samples, n_features, n_features)
            The posterior covariances Σ_k r_k (B_k + (b_k − mean)(b_k − mean)ᵀ), if `return_cov`.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            For the same reasons as in `predict`, and if the mixture has a noise component.

        References
        ----------
        J. Bovy, D. W. Hogg, S. T. Roweis, Extreme deconvolution, Ann. Appl. Stat. 5 (2011).

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[3.0])
        >>> mean, cov = gm.denoise([[4.0]], [[1.0]], return_cov=True)
        >>> mean.round(6).tolist(), cov.round(6).tolist()
        ([[3.0]], [[[0.75]]])
        """
        if not isinstance(return_cov, (bool, np.bool_)):
            raise TypeError(f"return_cov must be True or False, got {return_cov!r}")
        if return_cov and out is not None:
            raise ValueError("out is for the means alone, and cannot be given with return_cov=True")
        method = outputs.DENOISE_WITH_COVARIANCE if return_cov else outputs.DENOISE
        result: FloatArray = self._results(method, X, noise_covariance, out, allow_nan=True)
        return result

    def sample(self, n_samples: int = 1) -> tuple[FloatArray, Labels]:
        """Draw samples from the mixture: k ~ π, then x ~ N(μ_k, Σ_k).

        The samples are ordered by component, and those of the noise are the last. The same
        `random_state` draws the same samples for any number of threads. Another version of NumPy,
        or another instruction set, may draw others.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples. A float is accepted if it is a whole number, such as 1e5.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            The samples, of the dtype of `means_`.
        y : ndarray of shape (n_samples,), int64
            The component that each sample was drawn from, or −1 for the noise.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If `n_samples` is not a positive whole number, or the noise has no box.
        OverflowError
            If `n_samples` is more than the number of rows that an array can have.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters(
        ...     [0.5, 0.5], [[0.0], [9.0]], covariances=[1.0, 1.0], random_state=0
        ... )
        >>> X, y = gm.sample(5)
        >>> X.shape, y.shape
        ((5, 1), (5,))
        """
        model = self._model()
        random_state = check_random_state(self.random_state)
        X, labels = draw(model.prepared, n_samples, random_state, model.box)
        return X.astype(self._dtype(), copy=False), labels

    # --- volume, shape and orientation of the covariances -------------------------------------

    @property
    def volume_(self) -> Float64Array:
        """Volumes λ_k = |Σ_k|^(1/D) of the covariances λ_k D_k diag(A_k) D_kᵀ, of shape (K,)."""
        return self._decomposed()[0]

    @property
    def shape_(self) -> Float64Array:
        """Shapes A_k, the variances along the principal axes divided by the volume, (K, D).

        They are in descending order. Spherical covariances do not have this attribute.
        """
        decomposed = self._decomposed()
        if not COVARIANCE_TYPES[self.covariance_type].has_shape:
            raise AttributeError(f"covariance_type={self.covariance_type!r} has no shape_")
        return decomposed[1]

    @property
    def orientation_(self) -> Float64Array:
        """Orientations D_k, a principal axis in each column, of shape (K, D, D).

        Spherical and diagonal covariances do not have this attribute.
        """
        decomposed = self._decomposed()
        if not COVARIANCE_TYPES[self.covariance_type].has_orientation:
            raise AttributeError(f"covariance_type={self.covariance_type!r} has no orientation_")
        return decomposed[2]

    def _decomposed(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return volumes, shapes and orientations; see `CovarianceType.decompose`."""
        self._model()  # raises if there is none
        _, means, covariances, prepared = mixture_from(
            vars(self), self.covariance_type, self.n_threads
        )
        return prepared.kind.decompose(covariances, prepared.precisions_cholesky, *means.shape)

    # --- other forms ------------------------------------------------------------------------

    @classmethod
    def from_parameters(
        cls,
        weights: npt.ArrayLike,
        means: npt.ArrayLike,
        *,
        covariances: npt.ArrayLike | None = None,
        precisions: npt.ArrayLike | None = None,
        covariance_type: CovarianceName | None = None,
        **params: Any,
    ) -> Self:
        """Make a fitted model from its parameters.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
            Weights, which must not be negative and must sum to 1. With a density as `noise` they
            may sum to less, and the rest is the weight of the noise.
        means : array-like of shape (n_components, n_features)
            Means. If they are an array of float32, the model is float32, else float64.
        covariances, precisions : array-like, default=None
            Covariances or inverse covariances, in the shape of the covariance type. Exactly one of
            the two must be given.
        covariance_type : {'full', 'tied', 'diag', 'spherical'} or None, default=None
            The type of the covariances. None means the type whose shape they have; it has to be
            given only if more than one type has this shape.
        **params
            Further arguments of the constructor.

        Returns
        -------
        model : GaussianMixture
            A fitted model; all methods can be called as after `fit`. `converged_` is False,
            `n_iter_` is 0, `lower_bound_` is NaN, and `lower_bounds_` is empty.

        Raises
        ------
        ValueError
            If an array has a wrong shape or invalid values, if the covariances are not those of
            `covariance_type`, or if both or neither of `covariances` and `precisions` are given.
        TypeError
            If an array does not consist of numbers, or if a name in `params` is not that of a
            parameter.
        InvalidParameterError
            If `covariance_type` or a value in `params` is not allowed.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> gm.covariance_type, float(gm.precisions_[0])
        ('spherical', 0.25)
        """
        if (covariances is None) == (precisions is None):
            raise ValueError("give either covariances or precisions, and not both")
        shape = np.shape(means)
        if len(shape) != 2:
            raise ValueError(f"means has shape {shape}, expected (n_components, n_features)")
        name: Any = covariance_type
        if name is None:
            given = "precisions" if covariances is None else "covariances"
            matrices: Any = precisions if covariances is None else covariances
            name = type_by_shape(np.shape(matrices), *shape, given)
        model = cls(shape[0], covariance_type=name, **params)
        options = model._options()
        if isinstance(options.noise, (bool, np.bool_)) and options.noise:
            raise ValueError("noise=True is for `fit`, as it needs data; give a density as noise")
        log_noise_density = math.log(options.noise) if options.noise else None
        mixture, exact = mixture_of_arguments(
            weights, means, covariances, precisions, name, options.n_threads, log_noise_density
        )
        single = getattr(means, "dtype", None) == np.float32
        attributes = attributes_of(
            Fit(mixture, [], math.nan, False), np.dtype(np.float32 if single else np.float64),
            None, effective_n_threads(options.n_threads),
        )  # fmt: skip
        if exact is not None:
            attributes["precisions_"] = exact.astype(attributes["precisions_"].dtype)
        set_attributes(model, attributes)
        return model

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a NumPy .npz file, which `load` reads.

        A `random_state` that is not an int, and an `init_params` that is a callable, are not saved.
        A stream of `partial_fit` continues after `load` with bit-identical results if
        `random_state` is an int and `init_params` is not a callable.

        Parameters
        ----------
        path : str or path
            The name of the file; no suffix is added.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError, TypeError
            If the model has a parameter or an attribute that `load` would not accept.
        OSError
            If the file cannot be written. An older file of that name is unchanged, unless it had to
            be written in place (a pipe, a device, a file in a read-only folder).

        Examples
        --------
        >>> import os, tempfile
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gm.save(f"{folder}/model.npz")
        ...     os.listdir(folder)
        ['model.npz']
        """
        self._model()
        npz.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote, without executing anything in the file.

        Parameters
        ----------
        path : str or path
            The name of the file.

        Returns
        -------
        model : GaussianMixture
            The model with the parameters and the fitted attributes that were saved.

        Raises
        ------
        OSError
            If the file cannot be opened.
        TypeError
            If `path` is not a path.
        ValueError
            If the file was not written by `save`, is damaged, or has a later format version.

        Examples
        --------
        >>> import tempfile
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gm.save(f"{folder}/model.npz")
        ...     loaded = GaussianMixture.load(f"{folder}/model.npz")
        >>> loaded.covariances_.tolist()
        [4.0]
        """
        return npz.load(cls, path)

    def to_sklearn(self) -> SklearnGaussianMixture:
        """Convert the model to scikit-learn's own class.

        Returns
        -------
        model : sklearn.mixture.GaussianMixture
            A fitted model with copies of the arrays. Parameters that scikit-learn's class does not
            have, and an `init_params` that is a callable, are left out. Its `covariance_type` is
            'full', 'tied', 'diag' or 'spherical', and its `bic` and `aic` count the free parameters
            of that type, also where the model's own type, such as EEI or VEV, has fewer.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If the model has a noise component.
        ImportError
            If scikit-learn is not installed.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> gm.to_sklearn().predict([[3.0]]).tolist()
        [0]
        """
        if self._model().prepared.noise is not None:
            raise ValueError("scikit-learn's class has no noise component, as this model has")
        return to_sklearn(self)

    def to_onnx(self, *, dtype: npt.DTypeLike | None = None) -> ModelProto:
        """Convert the model to a graph of ONNX, for runtimes without Python.

        The graph has the input X of shape (N, n_features), and three outputs: `label` (N,), int64,
        as from `predict`; `probabilities` (N, n_components), as from `predict_proba`; and
        `score_samples` (N,). It uses the operators of opset 18. A sample with NaN has
        NaN for its probabilities and its score, and its label means nothing. Nor do the results of
        a sample with an infinite value.

        Parameters
        ----------
        dtype : {float32, float64} or None, default=None
            The dtype of the input, of the outputs and of the computation. None means the dtype of
            the model. With float32 the means are stored in two parts, so that the scores have the
            accuracy of float32 also where the data are far from zero.

        Returns
        -------
        model : onnx.ModelProto
            The model, which ``onnx.save(model, path)`` writes to a file.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        ValueError
            If `dtype` is another one, or cannot hold the parameters, or the model has a noise
            component.
        ImportError
            If the package onnx is not installed.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> [output.name for output in gm.to_onnx().graph.output]
        ['label', 'probabilities', 'score_samples']
        """
        return to_onnx(self._constants(dtype, "to_onnx"))

    def to_c(self, name: str = "gmm", *, dtype: npt.DTypeLike | None = None) -> str:
        """Write the model as a header of C99, which needs nothing but the library of mathematics.

        The header has three functions, whose names begin with `name`. With `T` for double or float,
        they are

        - ``T gmm_log_likelihood(const T *x)``: what `score_samples` returns for the sample x;
        - ``int gmm_predict(const T *x)``: its component;
        - ``T gmm_responsibilities(const T *x, T *r)``: writes the responsibilities of all
          components to r, and returns the log-likelihood.

        ``GMM_N_COMPONENTS`` and ``GMM_N_FEATURES`` are the lengths of r and x. The functions
        allocate no memory and can be called by several threads at once. They need the stack for
        n_components + n_features numbers. If a value of x is not finite, the results mean
        nothing.

        Parameters
        ----------
        name : str, default='gmm'
            The beginning of all names in the header: letters of ASCII, digits and underscores,
            beginning with a letter.
        dtype : {float32, float64} or None, default=None
            The dtype of the numbers and of the computation. None means the dtype of the model. With
            float32 the means are stored in two parts, as in `to_onnx`.

        Returns
        -------
        header : str
            The text of the header. Its length is about 24 bytes for each number of
            `precisions_cholesky_`.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        TypeError
            If `name` is not a str.
        ValueError
            If `name` cannot begin names of C, if `dtype` is another one, or cannot hold the
            parameters, or if the model has a noise component.

        Examples
        --------
        >>> from gmm_core import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], covariances=[4.0])
        >>> [line for line in gm.to_c("faithful").splitlines() if "likelihood(" in line]
        ['static inline double faithful_log_likelihood(const double *x)']
        """
        return to_c(self._constants(dtype, "to_c"), name)

    # --- checks that the methods make -------------------------------------------------------

    def _options(self) -> Options:
        """Check the parameters of the constructor, and return them."""
        return options_of(self, Options)

    def _model(self) -> FittedMixture:
        """Check the fitted attributes as they are now, and return them with their options."""
        attributes = vars(self)
        if "means_" not in attributes or "weights_" not in attributes:
            raise self._not_fitted_error()
        prepared, kept = checked(
            attributes, self.covariance_type, self.n_threads, getattr(self, "_kept", None)
        )
        object.__setattr__(self, "_kept", kept)  # no attribute in the eyes of subclasses
        return self._using(prepared)

    def _n_parameters(self) -> int:
        """Return the number of free parameters, as the same method of scikit-learn's class does."""
        prepared = self._model().prepared
        fixed = check_fixed(self.fixed, len(prepared.weights), self.covariance_type)
        n_fixed = 0 if fixed is None else fixed.n_parameters(prepared.kind, prepared.means.shape[1])
        return prepared.n_parameters - n_fixed

    def _estimate_log_weights(self) -> Float64Array:
        """Return log π_k; converters of models call this method of scikit-learn's class."""
        prepared = self._model().prepared
        if prepared.noise is not None:
            raise ValueError("scikit-learn's class has no noise component, as this model has")
        with np.errstate(divide="ignore"):
            return np.log(prepared.weights)

    def _using(self, prepared: Prepared) -> FittedMixture:
        """Return a mixture with the options of this estimator that methods use."""
        box = vars(self).get("noise_box_")
        return FittedMixture(
            prepared, self.missing == "marginalize", self.n_threads, box, self.skip == "auto"
        )

    def _constants(self, dtype: npt.DTypeLike | None, method: str) -> Constants:
        """Return the constants for a method that exports the model."""
        prepared = self._model().prepared
        return constants_of(prepared, self._dtype() if dtype is None else dtype, method)

    def _scored(
        self,
        X: Any,
        sample_weight: Any,
        certainty: Certainty | None = None,
        noise_covariance: Any = None,
    ) -> Score:
        """Return the score of samples or batches; see `score.score`."""
        if not is_batches(X):
            rows = self._noisy(X, noise_covariance)
            return score.score(rows, self._model(), sample_weight, certainty)
        refuse_weights_of_batches(sample_weight, noise_covariance)
        model = self._model()
        batches = checked_batches(X, lambda batch: whole(self._rows(batch, min_samples=0)))
        return score.score_of_batches(batches, model, certainty)

    def _results(
        self,
        method: Method,
        X: Any,
        noise_covariance: Any = None,
        out: Out = None,
        allow_nan: bool | None = None,
    ) -> Any:
        """Return the results of a method for samples or batches; see `outputs.results`."""
        return outputs.results(
            method, X, self._model(), lambda X, n: self._rows(X, allow_nan, n), noise_covariance,
            out,
        )  # fmt: skip

    def _rows(
        self, X: Any, allow_nan: bool | None = None, min_samples: int = 1
    ) -> FloatArray | ForeignRows:
        """Check the samples of a method against the fitted features, and return them.

        The values of ForeignRows are checked later, when they are converted. All methods convert
        them once.
        """
        attributes = vars(self)
        if "means_" not in attributes:
            raise self._not_fitted_error()
        n_features = attributes.get("n_features_in_")
        dtype = self._dtype()
        rows, _ = check_rows(
            X,
            dtype=None if dtype == np.float32 else dtype,
            n_features=np.shape(self.means_)[1] if n_features is None else n_features,
            feature_names=attributes.get("feature_names_in_"),
            min_samples=min_samples,
            allow_nan=self.missing == "marginalize" if allow_nan is None else allow_nan,
            once=True,
            n_threads=self.n_threads,
        )
        return rows

    def _noisy(self, X: Any, noise_covariance: Any) -> Rows:
        """Check the samples of a method and their measurement noise, and return both."""
        rows = self._rows(X)
        return rows if noise_covariance is None else with_noise(rows, noise_covariance)

    def _dtype(self) -> np.dtype[Any]:
        """Return the dtype of the model: float32 if the means are float32, else float64."""
        return dtype_of(self.means_)

    def _not_fitted_error(self) -> Exception:
        """Return the error for a model without fitted attributes."""
        collected: stream.Collected | None = vars(self).get("_collected")
        detail = ""
        if collected is not None:
            n, needed = collected.n_samples, rows_of_first_fit(self.n_components)
            detail = f"partial_fit has collected {n} sample{'s' * (n != 1)}; "
            missing = f"its first fit needs {needed}."
            detail += missing if n < needed else "no fit of them has succeeded yet."
        return not_fitted_error(type(self).__name__, detail)

    def _html_of_fit(self) -> str:
        """Return the components of a fitted model as a table in HTML."""
        return components_html(self._shown()) if "means_" in vars(self) else ""

    def _shown(self) -> Parameters:
        """Check the fitted attributes, and return what the table of components shows."""
        self._model()
        return Parameters(
            self.weights_, self.means_, self.covariances_, self.covariance_type,
            vars(self).get("feature_names_in_"), vars(self).get("noise_weight_"),
        )  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        """Describe the estimator to scikit-learn, including whether it accepts NaN."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "marginalize"
        return tags
