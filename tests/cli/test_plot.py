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


def test_plot_of_one_feature_is_refused(failure, faithful, tmp_path):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    np.save(tmp_path / "x.npy", faithful[:, 0])
    path = str(tmp_path / "plot.png")
    assert "two features" in failure("fit", str(tmp_path / "x.npy"), "--plot", path)


def test_plot_without_matplotlib_says_what_to_install(failure, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    err = failure("fit", FAITHFUL, "--plot", str(tmp_path / "plot.png"))
    # The package is on no index, so the message names the extra as one installs it in a clone.
    assert 'pip install ".[plot]"' in err
