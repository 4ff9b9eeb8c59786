"""Tests that the examples which draw pictures run, always draw the same, and print what they found."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
pytest.importorskip("matplotlib")


def run(name, folder):
    """Run a script, and return what it printed and the bytes of its picture."""
    path = folder / f"{name}.png"
    made = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", path],
        capture_output=True, text=True, timeout=100, cwd=folder,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert [file.name for file in folder.iterdir()] == [path.name]
    return made.stdout, path.read_bytes()


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("concentration_prior", ["dirichlet_distribution, 0.001: 3", "dirichlet_distribution, 1000: 10"]),
        ("number_of_components", ["BIC: 5 components", "Bayesian mixture: 5 of 10"]),
        ("restore_image", ["their means: 12.9 dB", "the mixture: 31.3 dB"]),
        (
            "deconvolve_colours",
            ["deconvolved: log-likelihood of the true colours 1.66", "denoised: distance from the true colours 0.071"],
        ),
    ],
)
def test_picture(name, printed, tmp_path):
    text, picture = run(name, tmp_path)
    assert all(line in text for line in printed)
    assert picture.startswith(b"\x89PNG")
    assert run(name, tmp_path) == (text, picture)
