"""How a line looks: drawn from (seed, number) into plain data before anything is drawn on an image."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from ocr_ray.lines import index_in_split
from ocr_ray.randomness import keyed_generator

Background = Literal["white", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStyle:
    """All that decides a line's pixels beside its text and font."""

    height_px: int
    """Of the whole line, margins included."""
    margins_px: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    ink: int
    """Grey value of the text, 0 (black) to 255."""
    skew_deg: int
    blur_px: float
    """Radius of the Gaussian blur."""
    background: Background
    space_width: float
    """Of a space, as a multiple of the font's own."""
    character_spacing_px: int
    trdg_seed: int
    """For the three global generators that trdg draws from."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def draw_style(seed: int, number: int) -> LineStyle:
    """Return the style of line `number`: printed text, upright or nearly so, dark on white or light paper."""
    generator = keyed_generator(seed, "style", number)
    top, left, bottom, right = (int(margin) for margin in generator.integers(2, 9, 4))
    return LineStyle(
        height_px=int(generator.integers(32, 65)),
        margins_px=(top, left, bottom, right),
        ink=int(generator.integers(0, 81)),
        skew_deg=int(generator.choice([-1, 0, 1], p=[0.1, 0.8, 0.1])),
        blur_px=round(float(generator.uniform(0.0, 0.8)), 2),
        background="noise" if generator.random() < 0.2 else "white",
        space_width=round(float(generator.uniform(0.7, 1.3)), 2),
        character_spacing_px=int(generator.integers(0, 3)),
        trdg_seed=int(generator.integers(0, 2**31)),
    )


def choose_font(names: Sequence[str], seed: int, number: int) -> str:
    """Return the font of line `number`: a keyed permutation of all fonts for each run of len(names) lines.

    Runs are counted from the first number of a split, so that every font gets exactly its share of each
    split, and no text is tied to a font.
    """
    place = index_in_split(number) % len(names)
    return names[int(keyed_generator(seed, "font", number - place).permutation(len(names))[place])]
