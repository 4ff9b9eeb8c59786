"""Tests that core/signatures.py declares the functions of the compiled modules, in every build."""

import inspect
from importlib import import_module

import pytest

from gmm_core import _build_config, _cpu
from gmm_core.core import signatures

LEVELS = [level for level in _cpu.supported_levels() if level in _build_config.LEVELS]
BUILDS = [
    (protocol, f"{source}_{level}{suffix}")
    for protocol, source, suffixes in (
        (signatures.ExpectationKernels, "_expectation", ("_f32", "_f64")),
        (signatures.KMeansKernels, "_kmeans", ("_f32", "_f64")),
        (signatures.MaximizationKernels, "_maximization", ("",)),
        (signatures.HierarchyKernels, "_hierarchy", ("",)),
        (signatures.RowwiseKernels, "_rowwise", ("",)),
        (signatures.SamplingKernels, "_sampling", ("",)),
    )
    for level in LEVELS
    for suffix in suffixes
] + [(signatures.StepwiseKernels, f"_stepwise_{suffix}") for suffix in ("f32", "f64")]


def arguments_of_functions(namespace):
    return {
        name: [argument for argument in inspect.signature(value).parameters if argument != "self"]
        for name, value in vars(namespace).items()
        if callable(value) and not name.startswith("_")
    }


@pytest.mark.parametrize(("protocol", "module"), BUILDS, ids=lambda value: str(value))
def test_signatures(protocol, module):
    compiled = arguments_of_functions(import_module(f"gmm_core.{module}"))
    assert compiled
    assert arguments_of_functions(protocol) == compiled
