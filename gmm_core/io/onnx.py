"""The conversion of a mixture to a graph of ONNX.

A Scan goes over the components, so that nothing of size samples × components × features is held in
memory. Its body computes c_k − |U_kᵀ (x − μ_k)|² / 2 for all samples. Differences are taken before
squares, and in two steps (see `Constants`), so that float32 holds far from zero.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

import numpy as np

from gmm_core.core.info import build_info
from gmm_core.core.types import AnyArray
from gmm_core.io.constants import Constants

if TYPE_CHECKING:
    from onnx import ModelProto

# The graph in the text form of ONNX. The If is for samples so far away that the log-densities of
# all components are −inf: it gives them 0 for the nearest component, the largest of several, and
# −inf for the others. The casts are to int32 (6) and bool (9).
_MODEL = Template("""
<ir_version: 8, opset_import: ["": 18], producer_name: "gmm_core", producer_version: "$version">
mixture ($type[N, $D] X)
    => (int64[N] label, $type[N, $K] probabilities, $type[N] score_samples)
{
    features = Transpose (X)
    by_component = $near
    log_prob = Transpose (by_component)
    log_prob_max = ReduceMax (log_prob, last_axis)
    has_density = Greater (log_prob_max, minus_infinity)
    as_int = Cast <to = 6> (has_density)
    all_as_int = ReduceMin <keepdims = 0> (as_int)
    all_have_density = Cast <to = 9> (all_as_int)
    log_share = If (all_have_density) <
        then_branch = unchanged () => ($type[N, $K] same) { same = Identity (log_prob) },
        else_branch = changed () => ($type[N, $K] replaced) {
            closeness_by_component = $far
            closeness = Transpose (closeness_by_component)
            closeness_max = ReduceMax (closeness, last_axis)
            is_nearest = GreaterOrEqual (closeness, closeness_max)
            constant_of_nearest = Where (is_nearest, all_log_constant, minus_infinity)
            constant_max = ReduceMax (constant_of_nearest, last_axis)
            is_largest = GreaterOrEqual (constant_of_nearest, constant_max)
            is_owner = And (is_nearest, is_largest)
            log_share_far = Where (is_owner, zero, minus_infinity)
            replaced = Where (has_density, log_prob, log_share_far)
        }
    >
    label = ArgMax <axis = 1, keepdims = 0> (log_share)
    log_share_max = ReduceMax (log_share, last_axis)
    log_ratio = Sub (log_share, log_share_max)
    ratio = Exp (log_ratio)
    total = ReduceSum (ratio, last_axis)
    probabilities = Div (ratio, total)
    log_total = Log (total)
    log_sum = Add (log_prob_max, log_total)
    relative_score = Squeeze (log_sum, last_axis)
    score_samples = Add (relative_score, log_offset)
}
""")

# The Scan over the components, and two ends of its body. Samples are columns, because onnxruntime
# broadcasts slowly along short rows. The second end tells how near a component is to a sample:
# −|s U_kᵀ (x − μ_k)|², where s keeps the squares from overflowing, or −inf if the weight is 0.
_SCAN = Template("""Scan <num_scan_inputs = $n, body = $body ($inputs) => ($type[N] value) {
        about_mean = Sub (features, mean)
        difference = Sub (about_mean, remainder)
        scaled = Mul (difference, $scale)
        whitened = $whiten (factor, scaled)
        squared = ReduceSumSquare <keepdims = 0> (whitened, first_axis)
        $end
    }> ($arrays)""")
_NEAR = "distance = Mul (squared, half) value = Sub (log_constant, distance)"
_FAR = "value = Sub (zero_or_minus_infinity, squared)"

_TYPES = {"float32": "float", "float64": "double"}


def to_onnx(constants: Constants) -> ModelProto:
    """Return the graph of a mixture.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    """
    try:
        from onnx import numpy_helper, parser
    except ImportError as error:
        raise ImportError(
            "to_onnx needs the package onnx, which cannot be imported: pip install onnx"
        ) from error
    K, D = constants.means.shape
    log_constants = constants.log_constants
    common: dict[str, AnyArray | float] = {
        "zero": 0, "half": 0.5, "one": 1, "minus_infinity": -np.inf,
        "far_scale": constants.far_scale, "log_offset": constants.log_offset,
    }  # fmt: skip
    by_component: dict[str, AnyArray] = {
        "mean": constants.means[:, :, None],
        "log_constant": log_constants,
        "zero_or_minus_infinity": np.where(log_constants > -np.inf, 0, -np.inf),
    }
    if constants.remainders is None:
        common["remainder"] = 0
    else:
        by_component["remainder"] = constants.remainders[:, :, None]
    has_matrices = constants.factors.ndim == 3
    factors = constants.factors.mT if has_matrices else constants.factors[:, :, None]
    if len(factors) == K:
        by_component["factor"] = factors
    else:
        common["factor"] = factors[0]

    type_name = _TYPES[constants.dtype]
    inputs = (f"{type_name}{[*a.shape[1:]]} {name}" for name, a in by_component.items())
    scan = {
        "n": len(by_component), "type": type_name, "inputs": ", ".join(inputs),
        "arrays": ", ".join(f"all_{name}" for name in by_component),
        "whiten": "MatMul" if has_matrices else "Mul",
    }  # fmt: skip
    text = _MODEL.substitute(
        version=build_info()["version"], type=type_name, K=K, D=D,
        near=_SCAN.substitute(scan, body="near", scale="one", end=_NEAR),
        far=_SCAN.substitute(scan, body="far", scale="far_scale", end=_FAR),
    )  # fmt: skip
    model = parser.parse_model(text)
    arrays = common | {f"all_{name}": array for name, array in by_component.items()}
    initializers = {name: np.asarray(array, constants.dtype) for name, array in arrays.items()}
    initializers |= {"first_axis": np.array([0]), "last_axis": np.array([1])}
    for name, array in initializers.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model
