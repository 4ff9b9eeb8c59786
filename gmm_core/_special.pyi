"""Digamma and log-gamma functions, and the sums of them for multivariate gamma functions.

The source is src/_special.pyx.
"""

from gmm_core.core.types import Float64Array

def digamma(x: Float64Array, D: int, result: Float64Array) -> int: ...
def log_gamma(x: Float64Array, D: int, result: Float64Array) -> int: ...
