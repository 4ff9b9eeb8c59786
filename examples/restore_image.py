"""Restore a photograph, half of whose values are missing, with a mixture of its patches.

Run ``python restore_image.py restored.png`` with matplotlib installed. The mixture is fitted to the
patches with their missing values, and every missing value becomes the mean of what the patches that
contain it expect.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")  # draws without a screen
from matplotlib import pyplot as plt

from gmm_core import GaussianMixture

SIZE = 4  # of a patch, in pixels


def photograph() -> np.ndarray:
    """Return a part of the photograph, with values from 0 to 1."""
    with np.load(Path(__file__).parent / "china_pixels.npz") as archive:
        height, width = archive["image_shape"]
        pixels: np.ndarray = archive["X"].reshape(height, width, 3)[60:220, 180:400] / 255
    return pixels


def patches_of(image: np.ndarray) -> np.ndarray:
    """Return all patches that begin at even rows and columns, a view of (rows, columns, values)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (SIZE, SIZE), axis=(0, 1))
    return windows[::2, ::2].reshape(*windows[::2, ::2].shape[:2], -1)


def restored(image: np.ndarray) -> np.ndarray:
    """Return the image with its NaN filled."""
    patches = patches_of(image)
    X = patches.reshape(-1, patches.shape[2])
    gm = GaussianMixture(10, missing="marginalize", reg_covar=1e-4, random_state=0).fit(X)
    filled = gm.impute(X).reshape(*patches.shape[:2], image.shape[2], SIZE, SIZE)
    total, count = np.zeros((2, *image.shape))
    for i in range(filled.shape[0]):
        for j in range(filled.shape[1]):
            place = slice(2 * i, 2 * i + SIZE), slice(2 * j, 2 * j + SIZE)
            total[place] += filled[i, j].transpose(1, 2, 0)
            count[place] += 1
    return total / count


def decibels(image: np.ndarray, original: np.ndarray) -> float:
    """Return the ratio of signal and noise, with the range of the values as the signal."""
    return float(-10 * np.log10(((image - original) ** 2).mean()))


def main(path: str) -> None:
    original = photograph()
    missing = np.random.default_rng(0).random(original.shape) < 0.5
    holed = np.where(missing, np.nan, original)
    by_mean = np.where(missing, np.nanmean(holed, axis=(0, 1)), holed)
    by_mixture = restored(holed)
    pictures = {
        "half of the values": np.where(missing, 0, original),
        f"their means: {decibels(by_mean, original):.1f} dB": by_mean,
        f"the mixture: {decibels(by_mixture, original):.1f} dB": by_mixture,
        "the original": original,
    }
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=True):
        ax.imshow(picture.clip(0, 1))
        ax.set_title(title)
        ax.set_axis_off()
    figure.savefig(path)
    print("; ".join(pictures))


if __name__ == "__main__":
    main(sys.argv[1])
