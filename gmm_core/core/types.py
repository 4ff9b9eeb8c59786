"""Names for the types of arrays, and for choices. All annotations of the package use these."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
FloatArray = Float32Array | Float64Array
LongDoubleArray = npt.NDArray[np.longdouble]
AnyArray = npt.NDArray[Any]  # an array whose element type only the caller knows
Labels = npt.NDArray[np.int64]  # the component of each sample
Indices = npt.NDArray[np.intp]  # indices of rows, features or components
Flags = npt.NDArray[np.int8]  # 0 or 1 for each component
Bytes = npt.NDArray[np.uint8]  # bounds on distances; see data/skipping.py
Places = npt.NDArray[np.uint16]  # numbers of rows within a region
Names = npt.NDArray[np.object_]  # names of the features, which are str
Out = AnyArray | str | os.PathLike[str] | None  # where the results of a method go
RegCovar = float | Float64Array  # one number for all features, or a number for each feature

CovarianceName = Literal[
    "full", "tied", "diag", "spherical",
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE",
    "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV", "E", "V",
]  # fmt: skip
StartName = Literal["kmeans", "k-means++", "random", "random_from_data", "hierarchical"]
MissingName = Literal["error", "marginalize"]
ConcentrationName = Literal["dirichlet_process", "dirichlet_distribution"]
SkipName = Literal["auto", False]
PosteriorName = Literal["scikit-learn", "conjugate"]
AccelerationName = Literal["squarem", "lbfgs"]
