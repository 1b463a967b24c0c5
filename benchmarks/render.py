"""How fast lines are rendered: the adapter in `ocr_ray.render.trdg` against trdg used as its README shows.

    python -m benchmarks.render

Both draw the same texts in the same fonts and styles, turn about in one process, so that a busy machine slows
both; the figure that counts is the ratio. The rates of a line's other steps stand beside it.
"""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import ImageFont
from trdg import computer_text_generator
from trdg.generators.from_strings import GeneratorFromStrings

from ocr_ray.images import ImageConfig, encode_image
from ocr_ray.render import trdg
from ocr_ray.render.fonts import DEFAULT_FONTS, find_available_fonts
from ocr_ray.render.style import choose_font, draw_style
from ocr_ray.text.corpus import read_corpus
from ocr_ray.text.sampler import TextConfig, TextSampler

SEED, LINES_PER_TURN, TURNS = 7, 100, 6


class _OldFont(ImageFont.FreeTypeFont):
    """A font with the method that Pillow 10 removed, without which trdg 1.8.0 draws nothing."""

    def getsize(self, text: str) -> tuple[int, int]:
        _, _, right, bottom = self.getbbox(text)
        return int(right), int(bottom)


def draw_plainly(text: str, path: str, style: Any) -> Any:
    """Draw with trdg alone, which opens the font file for every image."""
    adapted = computer_text_generator.ImageFont
    computer_text_generator.ImageFont = SimpleNamespace(truetype=lambda font, size: _OldFont(font, size))
    try:
        return GeneratorFromStrings(
            [text],
            count=1,
            fonts=[path],
            size=style.height_px,
            skewing_angle=style.skew_deg % 360,
            blur=style.blur_px,
            background_type=0 if style.background == "noise" else 1,
            space_width=style.space_width,
            character_spacing=style.character_spacing_px,
            margins=style.margins_px,
            image_mode="L",
        ).next()[0]
    finally:
        computer_text_generator.ImageFont = adapted


def measure(work: Callable[[int], Any], numbers: range) -> float:
    """Return the seconds that `work` takes over the numbers."""
    started = time.perf_counter()
    for number in numbers:
        work(number)
    return time.perf_counter() - started


def main() -> None:
    """Print lines per second of both, their ratio, and where the time goes."""
    fonts = {font.name: font for font in find_available_fonts(DEFAULT_FONTS)}
    sampler = TextSampler(read_corpus(None).words, TextConfig())
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for font in fonts.values():
            paths[font.name] = f"{folder}/{font.sha256}-{font.file_name}"
            Path(paths[font.name]).write_bytes(font.content)

        def name(number: int) -> str:
            return choose_font(list(fonts), SEED, number)

        works: dict[str, Callable[[int], Any]] = {
            "trdg alone": lambda n: draw_plainly(
                sampler.draw(SEED, n).text, paths[name(n)], draw_style(SEED, n)
            ),
            "ocr_ray.render.trdg": lambda n: trdg.draw_line(
                sampler.draw(SEED, n).text, fonts[name(n)], draw_style(SEED, n)
            ),
            "text and style only": lambda n: (sampler.draw(SEED, n), draw_style(SEED, n), name(n)),
        }
        images = [works["ocr_ray.render.trdg"](n) for n in range(LINES_PER_TURN)]
        works["384x384 and JPEG only"] = lambda n: encode_image(images[n % len(images)], ImageConfig())
        measure(works["ocr_ray.render.trdg"], range(1_000))  # every font at every size is open
        seconds = dict.fromkeys(works, 0.0)
        for turn, (label, work) in itertools.product(range(TURNS), works.items()):
            first = 1_000 + turn * LINES_PER_TURN
            seconds[label] += measure(work, range(first, first + LINES_PER_TURN))
    lines = LINES_PER_TURN * TURNS
    for label, total in seconds.items():
        print(f"{label:>22}: {lines / total:8.0f} lines/s on one core")
    print(f"ratio {seconds['trdg alone'] / seconds['ocr_ray.render.trdg']:.2f}")


if __name__ == "__main__":
    main()
