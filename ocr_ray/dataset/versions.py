"""Versions of the packages that determine the texts and pixels of a dataset."""

from importlib.metadata import version

import cv2
import numpy as np
import PIL
from PIL import features


def drawing_versions(*, with_trdg: bool = False) -> dict[str, str]:
    """Return the versions of the packages that determine texts and pixels on x86-64 with AVX2.

    `with_trdg`: trdg draws; the other renderer does not depend on it.
    """
    versions = {"trdg": version("trdg")} if with_trdg else {}
    return versions | {
        "ocr_ray": version("ocr_ray"),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "freetype": str(features.version("freetype2")),
        "libjpeg_turbo": str(features.version("libjpeg_turbo")),
    }
