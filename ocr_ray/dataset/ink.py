"""What counts as ink in a greyscale image, for all stages that look for print.

The most common grey is paper. A pixel is ink if it differs from the paper by more than a share of the
strongest contrast in the image; an image with too little contrast has no ink.

The thresholds differ on purpose:

- Rows of a page and pieces of a long line are cut only through clear paper: contrast of at least 48.
- Augmentation never cuts ink off, so it looks for fainter ink as well: contrast of at least 24.
- Words are cut out to be pasted elsewhere. Their edges must be exact, so darkness is measured as a fraction:
  a pixel is ink from 0.3, and the soft edge next to ink belongs to the word down to 0.04.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
"""8-bit greyscale, shape (height, width)."""
Ink = npt.NDArray[np.bool_]
"""True where there is print; shape (height, width), or one of them."""

MIN_CONTRAST = 48
"""Grey levels between paper and the strongest ink; an image with less has no ink."""
FAINT_LINE_CONTRAST = 24
"""The same where faint ink must not be overlooked."""
INK_SHARE = 0.25
"""A pixel is ink if it differs from the paper by more than this share of the contrast."""
WORD_INK_SHARE = 0.3
"""The same where words are cut out."""
SOFT_EDGE_SHARE = 0.04
"""A pixel next to the ink of a word belongs to its soft edge if it is darker than this share."""


def find_paper(pixels: Pixels) -> int:
    """Return the most common grey level, the darkest of equally common ones."""
    counts = Image.fromarray(pixels).histogram()
    return counts.index(max(counts))


def find_ink(pixels: Pixels, *, min_contrast: int = MIN_CONTRAST) -> Ink:
    """Return where there is print, dark on light or light on dark."""
    paper, darkest, lightest = find_paper(pixels), int(pixels.min()), int(pixels.max())
    contrast = max(paper - darkest, lightest - paper)
    if contrast < min_contrast:
        return np.zeros(pixels.shape, bool)
    step = INK_SHARE * contrast
    ink: Ink = pixels < paper - step
    return ink | (pixels > paper + step) if lightest > paper + step else ink


def find_dark_print(pixels: Pixels) -> tuple[int, int]:
    """Return the grey of the paper (upper quartile) and of the darkest ink of dark print on light paper."""
    return int(np.percentile(pixels, 75)), int(pixels.min())


def measure_darkness(pixels: Pixels, paper: int, ink: int) -> npt.NDArray[np.float32]:
    """Return how dark each pixel is: 0 is paper, 1 the darkest ink."""
    darkness: npt.NDArray[np.float32] = (paper - pixels.astype(np.float32)) / np.float32(paper - ink)
    return darkness
