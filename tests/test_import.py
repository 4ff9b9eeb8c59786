"""Tests of the import: how long it takes, what it imports, and which build of the kernels it loads."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gmm_core
from gmm_core import _build_config, _cpu

Make = Callable[..., Any]  # the type of the fixtures that return functions
LEVELS = [level for level in _cpu.supported_levels() if level in _build_config.LEVELS]


@pytest.mark.parametrize("level", LEVELS)
def test_forced_instruction_set(level: str, run_python: Make) -> None:
    code = """
X = np.concatenate([np.arange(50.0), 1000 + np.arange(50.0)])[:, None]
model = GaussianMixture(2, random_state=0).fit(X)
loaded = [m for m in sys.modules if m.startswith("gmm_core._expectation_")]
show([gmm_core.build_info()["isa"], sorted(loaded), sorted(model.means_[:, 0])])
"""
    isa, loaded, means = run_python(code, GMM_CORE_ISA=level)
    assert isa == level
    assert loaded == [f"gmm_core._expectation_{level}_{dtype}" for dtype in ("f32", "f64")]
    np.testing.assert_allclose(means, [24.5, 1024.5], rtol=1e-12)


@pytest.mark.parametrize("level", ["v9", "", "V3"])
def test_forcing_a_missing_instruction_set_is_an_error(level: str, run_python: Make) -> None:
    status, errors = run_python("", GMM_CORE_ISA=level)
    assert status == 1
    assert f"ImportError: GMM_CORE_ISA={level}, but this processor and this build" in errors


def test_the_highest_level_is_the_default(run_python: Make) -> None:
    assert run_python("show(gmm_core.build_info()['isa'])") == LEVELS[-1]


def test_nothing_but_numpy_is_imported(run_python: Make) -> None:
    code = """
optional = "sklearn scipy pandas polars pyarrow matplotlib joblib onnx threadpoolctl tqdm".split()
show([name for name in optional if name in sys.modules])
"""
    assert run_python(code) == []


def test_slow_modules_are_imported_where_they_are_used(start_python: Make) -> None:
    code = """
import sys, numpy
before = set(sys.modules)
import gmm_core
slow = "concurrent.futures hashlib numpy.random pathlib shutil zipfile".split()
print([name for name in slow if name in sys.modules and name not in before])
"""
    with start_python(code, prelude="") as child:
        assert child.communicate(timeout=60)[0] == "[]\n"


def test_names_are_imported_when_they_are_used(run_python: Make) -> None:
    code = """
later = sorted(gmm_core._MODULES)
loaded = [name for name in later if f"gmm_core.{gmm_core._MODULES[name]}" in sys.modules]
named = set(later) <= set(dir(gmm_core)) and set(later) <= set(gmm_core.__all__)
show([loaded, named, all(getattr(gmm_core, name).__name__ == name for name in later)])
"""
    assert run_python(code) == [[], True, True]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'gmm_core' has no attribute 'Unknown'"):
        gmm_core.Unknown  # noqa: B018


def test_import_takes_little_time(start_python: Make) -> None:
    """The import takes at most 50 ms after NumPy's, or half of NumPy's time on a slow machine.

    The times are CPU times, the best of five processes.
    """
    code = """
from time import process_time
t = process_time(); import numpy
n = process_time(); import gmm_core
print(n - t, process_time() - n)
"""
    costs = []
    for _ in range(5):
        # idle threads of OpenBLAS would spin, and add to the CPU time of the process
        with start_python(code, prelude="", OPENBLAS_NUM_THREADS="1") as child:
            costs.append([float(t) for t in child.communicate(timeout=60)[0].split()])
    numpy_time, own_time = np.min(costs, axis=0)
    assert own_time <= max(0.05, numpy_time / 2)
