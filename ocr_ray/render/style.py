"""The style of a line: plain data, drawn from (seed, number) before anything is rendered."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Literal

from ocr_ray.dataset.lines import index_in_split
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.strict_json import to_json

Look = Literal["pages", "plain"]
Edge = Literal["", "top", "bottom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleConfig:
    """Ranges for `--style pages`, both ends included.

    For comparison, print on the pages of AI Hub is about 15 px high.
    """

    text_height_px: tuple[int, int] = (12, 64)
    """Height of the text before the image is resized; log-uniform."""
    margin: tuple[float, float] = (0.03, 0.4)
    """Margin at each of the four edges, as a share of the text's height; log-uniform."""
    ink: tuple[int, int] = (0, 96)
    """Grey value of the text, from 0 (black) to 255."""
    paper: tuple[int, int] = (208, 255)
    """Grey value of the paper; half of the lines have the lightest value."""
    skew_share: float = 0.2
    """Share of lines that are slightly rotated."""
    skew_deg: tuple[float, float] = (-1.0, 1.0)
    """Angle of the rotated lines in degrees, anticlockwise."""
    blur: tuple[float, float] = (0.0, 0.025)
    """Standard deviation of the Gaussian blur, as a share of the text's height."""
    noise_share: float = 0.2
    """Share of lines on noisy paper."""
    noise: tuple[float, float] = (2.0, 10.0)
    """Standard deviation of the noise, in grey values."""
    space_width: tuple[float, float] = (0.7, 1.4)
    """Width of a space, as a multiple of the font's own."""
    letter_spacing: tuple[float, float] = (-0.02, 0.12)
    """Space added between characters, as a share of the font size; half of the lines have none."""
    neighbour_share: float = 0.1
    """Share of lines with ink of the line above or below at an edge."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float):
                if not 0 <= value <= 1:
                    raise ValueError(f"style.{field.name} must be from 0 to 1, got {value}")
                continue
            low, high = LIMITS[field.name]
            if not low <= value[0] <= value[1] <= high:
                raise ValueError(
                    f"style.{field.name} must be two values from {low} to {high}, the smaller first, "
                    f"got {value}"
                )
        if self.ink[1] + MIN_CONTRAST > self.paper[0]:
            raise ValueError(
                f"style.ink must be at least {MIN_CONTRAST} grey values below style.paper, "
                f"got ink up to {self.ink[1]} and paper from {self.paper[0]}"
            )


MIN_CONTRAST = 32
"""Grey values between the lightest ink and the darkest paper."""
LIMITS: dict[str, tuple[float, float]] = {
    "text_height_px": (6, 256),
    "margin": (0.01, 2),
    "ink": (0, 255),
    "paper": (0, 255),
    "skew_deg": (-10, 10),
    "blur": (0, 0.2),
    "noise": (0, 64),
    "space_width": (0.3, 4),
    "letter_spacing": (-0.1, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStyle:
    """Everything that determines a line's pixels except its text and font."""

    text_height_px: int
    """Distance from the font's ascender to the lowest ink."""
    font_size_px: int
    """Size at which glyphs are rasterised before they are scaled to the text's height."""
    margins_px: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    ink: int
    """Grey value of the text, 0 (black) to 255."""
    paper: int
    skew_deg: float
    """Anticlockwise."""
    blur_px: float
    """Standard deviation of the Gaussian blur."""
    noise: float
    """Standard deviation of the paper's grey values."""
    space_width: float
    """Width of a space, as a multiple of the font's own."""
    letter_spacing: float
    """Space added between characters, as a share of the font size."""
    neighbour: Edge
    """Edge with ink of another line; empty: none."""
    neighbour_px: int
    """Height of that ink; less than the margin there."""
    seed: int
    """Seed of the noise and the neighbour."""

    @property
    def height_px(self) -> int:
        """Height of the whole line, including margins."""
        return self.margins_px[0] + self.text_height_px + self.margins_px[2]

    def to_json(self) -> str:
        return to_json({name: getattr(self, name) for name in _NAMES})


_NAMES = [field.name for field in fields(LineStyle)]
FONT_SIZES_PX = (18, 25, 36, 50, 72, 102, 144, 204, 288)
"""Font sizes, few so that glyphs can be cached; text is set at the next larger one and shrunk."""
PLAIN_PAPER, PLAIN_NOISE = 235, 10.0
"""Mean and standard deviation of trdg's noisy paper, in grey values."""
_PLAIN_MARGIN_PX = 5
_NEIGHBOUR_MARGIN_PX = 3
_NEIGHBOUR_SHARE = 0.2
"""Largest height of a neighbour's ink, as a share of the text's height; too little to read."""


def draw_style(config: StyleConfig | None, seed: int, number: int) -> LineStyle:
    """Return the style of line `number`; without a config, trdg's defaults."""
    random = keyed_generator(seed, "style", number).random
    noise_seed = int(random() * 2**31)
    if config is None:
        return LineStyle(
            text_height_px=22,
            font_size_px=32,
            margins_px=(_PLAIN_MARGIN_PX,) * 4,
            ink=40,
            paper=PLAIN_PAPER,
            skew_deg=0.0,
            blur_px=0.0,
            noise=PLAIN_NOISE,
            space_width=1.0,
            letter_spacing=0.0,
            neighbour="",
            neighbour_px=0,
            seed=noise_seed,
        )
    height_px = round(_between_log(config.text_height_px, random))
    margins = [max(1, round(height_px * _between_log(config.margin, random))) for _ in range(4)]
    neighbour: Edge = ""
    neighbour_px = 0
    if random() < config.neighbour_share:
        neighbour, side = ("top", 0) if random() < 0.5 else ("bottom", 2)
        margins[side] = max(margins[side], _NEIGHBOUR_MARGIN_PX)
        max_px = min(margins[side] - 2, max(1, round(_NEIGHBOUR_SHARE * height_px)))
        neighbour_px = 1 + int(random() * max_px)
    return LineStyle(
        text_height_px=height_px,
        font_size_px=next(size for size in FONT_SIZES_PX if size >= height_px),
        margins_px=(margins[0], margins[1], margins[2], margins[3]),
        ink=round(_between(config.ink, random)),
        paper=config.paper[1] if random() < 0.5 else round(_between(config.paper, random)),
        skew_deg=round(_between(config.skew_deg, random), 2) if random() < config.skew_share else 0.0,
        blur_px=round(height_px * _between(config.blur, random), 2),
        noise=round(_between(config.noise, random), 1) if random() < config.noise_share else 0.0,
        space_width=round(_between(config.space_width, random), 2),
        letter_spacing=0.0 if random() < 0.5 else round(_between(config.letter_spacing, random), 3),
        neighbour=neighbour,
        neighbour_px=neighbour_px,
        seed=noise_seed,
    )


def _between(ends: tuple[float, float], random: Callable[[], float]) -> float:
    return ends[0] + random() * (ends[1] - ends[0])


def _between_log(ends: tuple[float, float], random: Callable[[], float]) -> float:
    return ends[0] * math.exp(random() * math.log(ends[1] / ends[0]))


def restrict_to_trdg(style: LineStyle) -> LineStyle:
    """Return the style without what trdg cannot draw."""
    return replace(
        style,
        font_size_px=style.height_px,
        skew_deg=float(round(style.skew_deg)),
        paper=PLAIN_PAPER if style.noise else 255,
        noise=PLAIN_NOISE if style.noise else 0.0,
        letter_spacing=max(0, round(style.letter_spacing * style.height_px)) / style.height_px,
        neighbour="",
        neighbour_px=0,
    )


def choose_font(names: Sequence[str], seed: int, number: int) -> str:
    """Return the font of line `number`: each run of len(names) lines has a random permutation of the fonts.

    Runs start at the first number of a split, so every font has an equal share of each split, and text
    and font are independent.
    """
    index = index_in_split(number) % len(names)
    return names[_permute(len(names), seed, number - index)[index]]


@lru_cache(maxsize=8)
def _permute(length: int, seed: int, first: int) -> list[int]:
    order: list[int] = keyed_generator(seed, "font", first).permutation(length).tolist()
    return order
