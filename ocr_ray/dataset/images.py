"""Images of lines: encoded the same for rendered lines and crops, and decoded within limits."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from ocr_ray.errors import InputError

SQUARE_SIZE_PX = 384
JPEG_QUALITY = 90
PNG_COMPRESS_LEVEL = 3
"""A 384 px line takes 2 ms and 22 kB; level 9 takes 29 ms and 17 kB."""

IMAGE_FORMATS = ("PNG", "JPEG")
"""Pillow starts Ghostscript for EPS, and its rarer decoders are little tested."""
MAX_LINE_PIXELS = 50_000_000
"""As many as a page can have, since a line is at most a page; a line of print has about 100,000."""
MAX_LINE_SIDE_PX = 65_500
"""The longest side that JPEG allows."""
PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
"""Modes of a PIL image that a PNG file holds as they are."""
BAD_IMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow raises for damaged files; IndexError for an animation of no frames, for instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """Size and format of line images."""

    size: Literal["384", "native"] = "384"
    """384: a square of 384 px, without keeping the aspect ratio, as in TrOCR; native: not resized."""
    format: Literal["jpeg", "png"] | None = None
    """jpeg: quality 90; png: lossless; None: png for native images, else jpeg."""

    def __post_init__(self) -> None:
        if self.size not in ("384", "native"):
            raise ValueError(f"size must be 384 or native, got {self.size!r}")
        if self.format not in ("jpeg", "png", None):
            raise ValueError(f"format must be jpeg or png, got {self.format!r}")
        if self.format is None:
            object.__setattr__(self, "format", "png" if self.size == "native" else "jpeg")


def encode_image(image: Image.Image, config: ImageConfig) -> bytes:
    """Return an 8-bit greyscale (`L`) image as the bytes of a JPEG or PNG file.

    The same pixels give the same bytes: metadata such as colour profiles, comments and EXIF is not written.
    """
    if image.mode != "L":
        raise ValueError(f"image must be 8-bit greyscale (mode L), got mode {image.mode}")
    if config.size == "384":
        stored = image.resize((SQUARE_SIZE_PX, SQUARE_SIZE_PX), Image.Resampling.BILINEAR)
    else:
        stored = image.copy()
    stored.info = {}  # Pillow would write its profile, comment and transparency
    buffer = io.BytesIO()
    if config.format == "jpeg":
        stored.save(buffer, "JPEG", quality=JPEG_QUALITY)
    else:
        stored.save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()


def open_line_image(content: bytes, name: str) -> Image.Image:
    """Return the decoded image of a line, a PNG or JPEG file; its size is checked before it is decoded.

    A transparent one is put on white.

    Raises:
        InputError: it is another format, truncated, damaged, of 16 bits, or larger than the limits; the
            message has `name`, the line's.
    """
    with _open_image(content, name) as image:
        if image.mode.startswith("I"):  # converted by Pillow it would be white
            raise InputError(f"the image of {name} must have 8 bits per channel, it has 16; convert it")
        image.load()
        if not image.has_transparency_data:
            return image
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")


def check_image(content: bytes, name: str) -> None:
    """Check format and size of a line's image without decoding it; raises as `open_line_image` does."""
    with _open_image(content, name):
        pass


@contextmanager
def _open_image(content: bytes, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(content), formats=IMAGE_FORMATS) as image:
            check_image_size(image.size, name)
            yield image
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"the image of {name} must be a PNG or JPEG file, it is none") from error
    except BAD_IMAGE as error:
        raise InputError(f"the image of {name} must be intact: {error}") from error


def check_image_size(size_px: tuple[int, int], name: str) -> None:
    """Check the width and height of a line's image against the limits; raises InputError."""
    width_px, height_px = size_px
    if not (
        min(size_px) >= 1 and max(size_px) <= MAX_LINE_SIDE_PX and width_px * height_px <= MAX_LINE_PIXELS
    ):
        raise InputError(
            f"the image of {name} must have at most {MAX_LINE_PIXELS:,} px and {MAX_LINE_SIDE_PX:,} px per "
            f"side, got {width_px} x {height_px} px"
        )


def name_image(image: Image.Image | bytes | str | Path, number: int) -> str:
    """Return the name of an image in messages: its path, or `image 3`."""
    return str(image) if isinstance(image, str | Path) else f"image {number}"


def encode_as_file(image: Image.Image | bytes | str | Path, name: str) -> bytes:
    """Return the bytes of an image file; one of a PIL image keeps grey pixels grey, which are read faster.

    Raises:
        InputError: a path cannot be read, or a PIL image is too large or cannot be loaded.
    """
    if isinstance(image, bytes):
        return image
    try:
        if isinstance(image, str | Path):
            return Path(image).read_bytes()
        check_image_size(image.size, name)
        buffer = io.BytesIO()
        (image if image.mode in PNG_MODES else image.convert("RGB")).save(buffer, "PNG", compress_level=1)
    except InputError:
        raise
    except BAD_IMAGE as error:
        raise InputError(f"an image must be a PNG or JPEG file of a line, {name} is not: {error}") from error
    return buffer.getvalue()
