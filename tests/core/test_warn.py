"""Tests that a warning names the line of the user's file, whichever method gives it."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from gmm_core import GaussianMixture, __version__
from gmm_core.core.warn import warn

X = np.vstack([np.random.RandomState(0).randn(60, 2), np.random.RandomState(1).randn(40, 2) + 6])
FRAME = pd.DataFrame(X, columns=["a", "b"])
FITTED = GaussianMixture(2, random_state=0).fit(FRAME)


def not_converged(**params):
    return GaussianMixture(3, max_iter=1, tol=0, random_state=0, **params)


CASES = {
    "fit": lambda: not_converged().fit(X),
    "fit_predict": lambda: not_converged().fit_predict(X),
    "fit_batches": lambda: not_converged().fit_batches([X]),
    "predict without names": lambda: FITTED.predict(X),
    "score without names": lambda: FITTED.score(X),
    "impute without names": lambda: FITTED.impute(X),
    "a start that fails": lambda: GaussianMixture(3, n_init=10, reg_covar=0, random_state=0).fit(
        np.vstack([np.random.RandomState(0).randn(100, 2), [[5, 5], [-5, 5]]])
    ),
    "an empty component": lambda: GaussianMixture(2, means_init=[[0, 0], [1e5, 1e5]]).fit(X),
    "a pickle of another version": lambda: pickle.loads(
        pickle.dumps(FITTED).replace(__version__.encode(), b"9" * len(__version__))
    ),
}


@pytest.mark.parametrize("call", CASES.values(), ids=CASES)
def test_the_warning_names_this_file(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert caught
    assert {warning.filename for warning in caught} == {__file__}


def test_a_call_from_outside_the_package_points_at_the_call():
    with pytest.warns(RuntimeWarning, match="text") as caught:
        warn("text", RuntimeWarning)
    assert caught[0].filename == __file__
