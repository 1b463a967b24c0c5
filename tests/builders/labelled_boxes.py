"""Labels with boxes, and pages to cut them from."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop import PageCrops
from ocr_ray.pages.labels.read import Box, PageLabel

NATIVE = CropStyle(image=ImageConfig(size="native", format="png"))


def noise(width_px: int, height_px: int) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height_px, width_px), dtype=np.uint8))


def make_box(x0: float, y0: float, x1: float, y1: float, markup: str = "$1$", index: int = 0) -> Box:
    return Box(index=index, x0=x0, y0=y0, x1=x1, y1=y1, markup=markup)


def make_label(*boxes: Box) -> PageLabel:
    problem = " ".join(box.markup for box in boxes)
    return PageLabel(page_id="P3_1", schema="71716", problem_markup=problem, boxes=boxes, out_of_scope={})


def draw_rows(num_rows: int) -> Image.Image:
    """Return a page with rows of 10 px, 20 px apart, each 5 px further to the right."""
    page = Image.new("L", (200, 100), 255)
    for row in range(num_rows):
        ImageDraw.Draw(page).rectangle((10 + 5 * row, 10 + 20 * row, 99, 19 + 20 * row), fill=0)
    return page


def pixels_of(content: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


def reasons_of(crops: PageCrops) -> list[str]:
    return [reject.reason for reject in crops.rejects]
