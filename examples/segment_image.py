"""Colour segmentation: paint every pixel of a photograph with the mean of its component.

Run ``python segment_image.py`` with Pillow installed; it writes china_segmented.png.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from gmm_core import GaussianMixture


def main() -> None:
    here = Path(__file__).parent
    with np.load(here / "china_pixels.npz") as archive:
        X, (height, width) = archive["X"].astype(np.float32), archive["image_shape"]
    mixture = GaussianMixture(8, reg_covar=1.0, random_state=0)
    labels = mixture.fit_predict(X)
    colours = mixture.means_.round().clip(0, 255).astype(np.uint8)
    path = here / "china_segmented.png"
    Image.fromarray(colours[labels].reshape(height, width, 3)).save(path)
    print(f"{len(X)} pixels, {mixture.n_iter_} iterations; {path}")


if __name__ == "__main__":
    main()
