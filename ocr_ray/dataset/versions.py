"""Versions of the packages that determine the texts and pixels of a dataset."""

from importlib.metadata import version

import cv2
import numpy as np
import PIL
from PIL import features


def drawing_versions() -> dict[str, str]:
    """Return the versions of the packages that determine texts and pixels on x86-64 with AVX2."""
    return {
        "ocr_ray": version("ocr_ray"),
        "trdg": version("trdg"),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "freetype": str(features.version("freetype2")),
        "libjpeg_turbo": str(features.version("libjpeg_turbo")),
    }
