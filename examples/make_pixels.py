"""Make china_pixels.npz, the colours of all pixels of a photograph, from scikit-learn's copy.

Run ``python make_pixels.py`` with scikit-learn and Pillow installed. The repository contains the
result already; README.md has the licence of the photograph.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image


def main() -> None:
    image = load_sample_image("china.jpg")  # (427, 640, 3), uint8
    path = Path(__file__).with_name("china_pixels.npz")
    np.savez_compressed(path, X=image.reshape(-1, 3), image_shape=image.shape[:2])
    print(f"{path}: {image.size // 3} pixels, {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
