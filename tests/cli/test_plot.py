"""Tests of the plot of a mixture."""

import sys
from pathlib import Path

import numpy as np
import pytest

FAITHFUL = str(Path(__file__).parents[2] / "examples" / "old_faithful.csv")


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_plot_writes_an_image(output, tmp_path, covariance_type):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    path = tmp_path / "plot.png"
    out = output(
        "fit", FAITHFUL, "-k", "2", "--covariance-type", covariance_type,
        "--plot", str(path),
    )
    assert f"plot saved to {path}" in out
    from matplotlib.image import imread

    image = imread(path)[..., :3]
    assert min(image.shape[:2]) > 400
    # The components have the first two colours of matplotlib's cycle, blue and orange.
    for colour in ((31, 119, 180), (255, 127, 14)):
        assert np.any(np.all(np.abs(image * 255 - colour) < 2, axis=-1))


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_formats_and_numbers_of_features(output, faithful, tmp_path, n_features, suffix, start):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    np.save(tmp_path / "x.npy", np.column_stack([faithful, faithful[:, 0] ** 2])[:, :n_features])
    path = tmp_path / f"plot{suffix}"
    output("fit", str(tmp_path / "x.npy"), "-k", "2", "--plot", str(path))
    content = path.read_bytes()
    assert content.startswith(start)
    if suffix == ".svg":
        assert content.count(b"<!-- x1 -->") >= 1  # a label of an axis


def test_plot_of_a_selection(output, failure, tmp_path):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    path = tmp_path / "bic.svg"
    out = output("fit", FAITHFUL, "-k", "1:3", "--plot-selection", str(path))
    assert f"plot saved to {path}" in out
    assert b"<!-- BIC -->" in path.read_bytes()
    assert "several fits" in failure("fit", FAITHFUL, "-k", "2", "--plot-selection", str(path))


def test_plot_without_matplotlib_says_what_to_install(failure, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    err = failure("fit", FAITHFUL, "--plot", str(tmp_path / "plot.png"))
    # The package is on no index, so the message names the extra as one installs it in a clone.
    assert 'pip install ".[plot]"' in err
