"""The flags of `read` and `demo`."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from ocr_ray.pages.labels.page_label import BoxFormat

FLAG_BELOW = 0.9
"""Lines of lower confidence are marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadConfig:
    """Read the text of images: of single lines, of whole pages, of the pages of a PDF."""

    images: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="IMAGE…")]
    """The images: files (.png, .jpg, .pdf), or folders of them with their sub-folders.
    Without --boxes the lines of a page are found at the gaps between them, which needs upright print in one
    column on plain paper; figures and tables are left out."""
    model: str
    """Model folder, a Hugging Face hub id, or base: the small model of this package."""
    boxes: str | None = None
    """Label with the boxes of the image, or a folder of labels (.json) with the names of the images.
    Labels are in the format of AI Hub 71716 or 71859; their texts are ignored."""
    box_format: BoxFormat = "xyxy"
    """How 71716 labels give a box. xyxy: left, top, right, bottom;
    xywh: left, top, width, height; points: a list of points."""
    json: bool = False
    """Print a JSON object per line on a terminal too, as where standard output is no terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """Show a web page on this machine that reads the images dropped into it."""

    model: str
    """Model folder, a Hugging Face hub id, or base: the small model of this package."""
    port: int = 7860
    """The page is at http://127.0.0.1:PORT, which only this machine can open."""
    browser: bool = True
    """Open the page in the browser."""
    flag_below: float = FLAG_BELOW
    """Lines with a lower confidence, from 0 to 1, are marked."""

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise ValueError(f"port must be from 1 to 65535, got {self.port}")
        if not 0 <= self.flag_below <= 1:
            raise ValueError(f"flag_below must be from 0 to 1, got {self.flag_below}")
