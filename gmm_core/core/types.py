"""Names for the types of arrays. All annotations of the package use these."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = Float32Array | Float64Array
Labels = npt.NDArray[np.int64]  # a component for each sample
Indices = npt.NDArray[np.intp]  # numbers of rows, features or components
Names = npt.NDArray[np.object_]  # of features
RegCovar = float | Float64Array  # one number for all features, or one for each

CovarianceName = Literal["full", "tied", "diag", "spherical"]
StartName = Literal["kmeans", "k-means++", "random", "random_from_data"]
MissingName = Literal["error", "marginalize"]
