"""Augmentation of lines of real print: another printer, scanner or box in every epoch.

There are thousands of labelled lines and millions of rendered ones, so the labelled ones repeat more often,
and all come from one source. Rendered lines differ enough already and are not augmented.

Lengths are pixels of the line as it was cut out, before it was resized. A stored square is such a line
stretched, vertically often twentyfold. It is shrunk back first, so that blur is as wide as it is high, JPEG
blocks are as large as on a page, and a line takes half a millisecond instead of five.
"""

import hashlib
import io
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from ocr_ray.dataset.ink import FAINT_LINE_CONTRAST, find_ink, find_paper
from ocr_ray.randomness import check_seed, keyed_generator

Floats = npt.NDArray[np.float32]

AUGMENTED_SOURCES = frozenset({"page", "spliced"})
MIN_STRETCH = 3.0
"""An axis stretched by less is not shrunk back, because detail between the pixels would be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Ranges of the random changes, both ends included."""

    share: float = 0.4
    """Share of the lines that each kind of change is applied to, independently of the others."""
    blur_px: tuple[float, float] = (0.2, 0.5)
    """Standard deviation of the Gaussian blur."""
    ink_px: tuple[float, float] = (-0.2, 0.4)
    """Change of the stroke width; below 0 strokes become narrower."""
    black: tuple[int, int] = (0, 64)
    """Grey value that 0 is mapped to; the values between black and white are scaled."""
    white: tuple[int, int] = (200, 255)
    """Grey value that 255 is mapped to."""
    slant: tuple[float, float] = (-0.12, 0.12)
    """Lean of the print to the right, in widths per height."""
    tilt_px: tuple[float, float] = (-1.5, 1.5)
    """Rise of the line from its left end to its right."""
    edge_px: tuple[int, int] = (-3, 3)
    """Paper added at each of the four edges; below 0 it is cut off, but never ink: without its last column of
    pixels `번` would read `버`."""
    jpeg_quality: tuple[int, int] = (40, 90)
    """Quality of the JPEG that the line is compressed to."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"augment.share must be from 0 to 1, got {self.share}")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value[0] <= value[1] <= high:
                raise ValueError(
                    f"augment.{name} must be two values from {low} to {high}, the lower first, got {value}"
                )
        if self.black[1] + 64 > self.white[0]:
            raise ValueError(
                "augment.black must stay 64 grey values or more below augment.white, "
                f"got black up to {self.black[1]} and white from {self.white[0]}"
            )


_LIMITS: dict[str, tuple[float, float]] = {
    "blur_px": (0, 4),
    "ink_px": (-2, 4),
    "black": (0, 255),
    "white": (0, 255),
    "slant": (-0.5, 0.5),
    "tilt_px": (-8, 8),
    "edge_px": (-32, 32),
    "jpeg_quality": (10, 95),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The changes to one line, applied in this order; defaults change nothing."""

    edges_px: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Paper added left, above, right and below; negative: cut off."""
    slant: float = 0.0
    tilt_px: float = 0.0
    ink_px: float = 0.0
    blur_px: float = 0.0
    black: int = 0
    white: int = 255
    jpeg_quality: int | None = None


def draw_augmentation(config: AugmentConfig, *, seed: int, epoch: int, line_id: str) -> Augmentation:
    """Return the changes to a line in an epoch, a pure function of the arguments."""
    digest = hashlib.blake2b(line_id.encode(), digest_size=8).digest()
    rng = keyed_generator(seed, f"augment {epoch}", int.from_bytes(digest, "little") >> 1)
    # Everything is drawn, applied or not, so that the values do not depend on the share.
    edges, shear, ink, blur, contrast, jpeg = (rng.random(6) < config.share).tolist()
    left, top, right, bottom = (_pick(config.edge_px, rng) for _ in range(4))
    drawn = Augmentation(
        edges_px=(left, top, right, bottom),
        slant=_between(config.slant, rng),
        tilt_px=_between(config.tilt_px, rng),
        ink_px=_between(config.ink_px, rng),
        blur_px=_between(config.blur_px, rng),
        black=_pick(config.black, rng),
        white=_pick(config.white, rng),
        jpeg_quality=_pick(config.jpeg_quality, rng),
    )
    return Augmentation(
        edges_px=drawn.edges_px if edges else (0, 0, 0, 0),
        slant=drawn.slant if shear else 0.0,
        tilt_px=drawn.tilt_px if shear else 0.0,
        ink_px=drawn.ink_px if ink else 0.0,
        blur_px=drawn.blur_px if blur else 0.0,
        black=drawn.black if contrast else 0,
        white=drawn.white if contrast else 255,
        jpeg_quality=drawn.jpeg_quality if jpeg else None,
    )


def _between(ends: tuple[float, float], rng: np.random.Generator) -> float:
    return ends[0] + float(rng.random()) * (ends[1] - ends[0])


def _pick(ends: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(ends[0], ends[1], endpoint=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmenter:
    """Augments page and spliced lines; threads can share one."""

    config: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def __call__(
        self,
        image: Image.Image,
        *,
        source: str,
        line_id: str,
        epoch: int,
        size_px: tuple[int, int] | None = None,
    ) -> Image.Image:
        """Return the augmented line, mode L, in any size; lines of other sources are returned unchanged.

        `size_px` is the width and height of the line before it was resized; None: the size of the image. The
        same arguments give the same pixels.
        """
        if source not in AUGMENTED_SOURCES:
            return image
        drawn = draw_augmentation(self.config, seed=self.seed, epoch=epoch, line_id=line_id)
        return apply_augmentation(image, drawn, size_px or image.size)


def apply_augmentation(image: Image.Image, drawn: Augmentation, size_px: tuple[int, int]) -> Image.Image:
    """Return the changed line, mode L; `image` itself if nothing changes. `size_px`: as for `Augmenter`."""
    if drawn == _UNCHANGED:
        return image
    line = _unstretch(image, size_px)
    scale = line.width / size_px[0], line.height / size_px[1]
    if any(drawn.edges_px):
        line = _move_edges(line, drawn.edges_px, scale)
    if drawn.slant or drawn.tilt_px:
        line = _shear(line, drawn.slant, drawn.tilt_px, scale)
    if drawn.ink_px:
        line = _widen_ink(line, drawn.ink_px, scale)
    if drawn.blur_px:
        line = line.filter(ImageFilter.GaussianBlur((drawn.blur_px * scale[0], drawn.blur_px * scale[1])))
    if (drawn.black, drawn.white) != (0, 255):
        slope = (drawn.white - drawn.black) / 255
        line = line.point([round(drawn.black + slope * level) for level in range(256)])
    if drawn.jpeg_quality is not None:
        line = _pass_jpeg(line, drawn.jpeg_quality)
    return line


_UNCHANGED = Augmentation()
_Scale = tuple[float, float]
"""Pixels of the image per pixel of the line as it was cut out, for x and y."""


def _unstretch(image: Image.Image, size_px: tuple[int, int]) -> Image.Image:
    """Return the image with its strongly stretched axes shrunk back to their original size.

    Nearest-neighbour sampling takes the grey value at the middle of each original pixel, within half a pixel
    of the stored image.
    """
    width, height = (
        before if stored >= MIN_STRETCH * before else stored
        for before, stored in zip(size_px, image.size, strict=True)
    )
    return image.resize((width, height), Image.Resampling.NEAREST)


def _move_edges(line: Image.Image, edges_px: tuple[int, int, int, int], scale: _Scale) -> Image.Image:
    """Return the line with paper added or cut off at its edges; a line without ink is not cut."""
    pixels = np.asarray(line)
    paper = find_paper(pixels)
    is_ink = find_ink(pixels, min_contrast=FAINT_LINE_CONTRAST)
    if not is_ink.any():
        is_ink[:] = True
    sides = []
    for axis in (0, 1):
        inked = np.flatnonzero(is_ink.any(axis=axis))
        before, after = int(inked[0]), line.size[axis] - 1 - int(inked[-1])
        wanted = (round(edges_px[axis] * scale[axis]), round(edges_px[axis + 2] * scale[axis]))
        sides.append((max(wanted[0], -before), max(wanted[1], -after)))
    (left, right), (top, bottom) = sides
    moved = Image.new("L", (line.width + left + right, line.height + top + bottom), paper)
    moved.paste(line, (left, top))
    return moved


def _shear(line: Image.Image, slant: float, tilt_px: float, scale: _Scale) -> Image.Image:
    """Return the line slanted and tilted around its middle, with enough paper added that nothing is lost."""
    across = slant * scale[0] / scale[1]
    upwards = tilt_px * scale[1] / line.width
    more_x = math.ceil(abs(across) * line.height / 2)
    more_y = math.ceil(abs(upwards) * line.width / 2)
    width, height = line.width + 2 * more_x, line.height + 2 * more_y
    paper = find_paper(np.asarray(line))
    wide = Image.new("L", (width, height), paper)
    wide.paste(line, (more_x, more_y))
    return wide.transform(
        wide.size,
        Image.Transform.AFFINE,  # maps coordinates of the result to those of `wide`
        (1.0, across, -across * height / 2, upwards, 1.0, -upwards * width / 2),
        Image.Resampling.BICUBIC,
        fillcolor=paper,
    )


def _widen_ink(line: Image.Image, ink_px: float, scale: _Scale) -> Image.Image:
    """Return the line with dark strokes wider or narrower by `ink_px`, half of it on each side."""
    pick = np.minimum if ink_px > 0 else np.maximum
    pixels: Floats = np.asarray(line, dtype=np.float32)
    for axis in (0, 1):
        reach = abs(ink_px) / 2 * scale[axis]
        narrow = pixels
        for _ in range(int(reach)):
            narrow = _pick_neighbour(narrow, pick, 1 - axis)
        wide = _pick_neighbour(narrow, pick, 1 - axis)
        # Ink that covers part of a pixel darkens it in proportion.
        pixels = narrow + (reach - int(reach)) * (wide - narrow)
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def _pick_neighbour(pixels: Floats, pick: np.ufunc, axis: int) -> Floats:
    """Return the darkest, or the lightest, of each pixel and its two neighbours along an axis."""
    picked = pixels.swapaxes(0, axis).copy()
    along = pixels.swapaxes(0, axis)
    pick(picked[1:], along[:-1], out=picked[1:])
    pick(picked[:-1], along[1:], out=picked[:-1])
    return picked.swapaxes(0, axis)


def _pass_jpeg(line: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    line.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("L")
