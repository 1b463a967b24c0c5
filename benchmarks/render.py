"""How fast lines are rendered: ours against trdg, and against what no renderer of such images can save.

    python -m benchmarks.render

Three things take turns in one process on the same texts, fonts and styles, so that a busy machine slows all:
trdg as its README shows it, in its default RGB, then Pillow's resize and JPEG; ours, up to the encoded bytes;
and the floor, one enlargement and one JPEG of a canvas that is ready. Ours has drawn other lines before, as a
worker has that renders a hundred thousand. The last line of the output is JSON: `ratio` is ours over trdg,
`floor_share` ours over the floor, `ratio_grey` ours over trdg told to draw in grey from the start.
"""

import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image, ImageFont
from trdg import computer_text_generator
from trdg.generators.from_strings import GeneratorFromStrings

from ocr_ray.dataset.images import JPEG_QUALITY, SQUARE_SIZE_PX, ImageConfig
from ocr_ray.render import renderer
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts, shared_characters
from ocr_ray.render.style import LineStyle, StyleConfig, as_trdg_draws, choose_font, draw_style
from ocr_ray.textgen.corpus import read_corpus
from ocr_ray.textgen.sampler import TextConfig, TextInputs, TextSampler

SEED, LINES_PER_TURN, TURNS = 7, 300, 4
NUM_DRAWN_BEFORE = 15_000
SQUARE = (SQUARE_SIZE_PX, SQUARE_SIZE_PX)


class _OldFont(ImageFont.FreeTypeFont):
    """A font with the method that Pillow 10 removed, without which trdg 1.8.0 draws nothing."""

    def getsize(self, text: str) -> tuple[int, int]:
        _, _, right, bottom = self.getbbox(text)
        return int(right), int(bottom)


computer_text_generator.ImageFont = SimpleNamespace(truetype=lambda font, size: _OldFont(font, size))


def render_with_trdg(text: str, path: str, style: LineStyle, mode: str) -> bytes:
    """Return the JPEG of a line that trdg draws and Pillow resizes and encodes."""
    image = GeneratorFromStrings(
        [text],
        count=1,
        fonts=[path],
        size=style.height_px,
        skewing_angle=int(style.skew_deg) % 360,
        blur=style.blur_px,
        background_type=0 if style.noise else 1,
        text_color=f"#{style.ink:02x}{style.ink:02x}{style.ink:02x}",
        space_width=style.space_width,
        character_spacing=round(style.letter_spacing * style.height_px),
        margins=style.margins_px,
        image_mode=mode,
    ).next()[0]
    buffer = io.BytesIO()
    image.resize(SQUARE, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def measure(work: Callable[[int], Any], numbers: range) -> float:
    """Return the seconds of this processor that `work` takes over the numbers."""
    started = time.process_time()
    for number in numbers:
        work(number)
    return time.process_time() - started


def main() -> None:
    """Measure all in turns and print what they give."""
    fonts = {font.name: font for font in find_available_fonts(DEFAULT_FONTS)}
    material = TextInputs(words=read_corpus(None).words, characters=shared_characters(list(fonts.values())))
    sampler, config = TextSampler(material, TextConfig()), ImageConfig()
    num_lines = LINES_PER_TURN * TURNS + NUM_DRAWN_BEFORE
    texts = [sampler.draw(SEED, number).text for number in range(num_lines)]
    names = [choose_font(list(fonts), SEED, number) for number in range(num_lines)]
    drawn = [draw_style(StyleConfig(), SEED, number) for number in range(num_lines)]
    styles = [replace(as_trdg_draws(style), font_size_px=style.font_size_px) for style in drawn]

    lines = [(text, fonts[name], style) for text, name, style in zip(texts, names, styles, strict=True)]

    def render(number: int) -> bytes:
        return renderer.encode_line(*lines[number], config)[0]

    def encode_canvas(number: int) -> bytes:
        return renderer.encode_canvas(canvases[number % LINES_PER_TURN], config)

    canvases = [renderer.draw_line(*lines[number])[0] for number in range(LINES_PER_TURN)]
    measure(render, range(LINES_PER_TURN * TURNS, num_lines))
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for font in fonts.values():
            paths[font.name] = f"{folder}/{font.sha256}-{font.file_name}"
            Path(paths[font.name]).write_bytes(font.content)

        def trdg_in(mode: str) -> Callable[[int], bytes]:
            return lambda number: render_with_trdg(texts[number], paths[names[number]], styles[number], mode)

        works: dict[str, Callable[[int], Any]] = {
            "trdg": trdg_in("RGB"),
            "trdg_grey": trdg_in("L"),
            "ours": render,
            "floor": encode_canvas,
            "text": lambda number: (sampler.draw(SEED, number), draw_style(StyleConfig(), SEED, number)),
        }
        seconds = dict.fromkeys(works, 0.0)
        for turn, (name, work) in itertools.product(range(TURNS), works.items()):
            seconds[name] += measure(work, range(turn * LINES_PER_TURN, (turn + 1) * LINES_PER_TURN))
    rates = {name: LINES_PER_TURN * TURNS / taken for name, taken in seconds.items()}
    print(f"text and style alone: {rates['text']:.0f} lines/s on one core", file=sys.stderr)
    figures = {f"{name}_per_s": round(rates[name], 1) for name in ("trdg", "ours", "floor", "trdg_grey")}
    ratios = {
        "ratio": rates["ours"] / rates["trdg"],
        "floor_share": rates["ours"] / rates["floor"],
        "ratio_grey": rates["ours"] / rates["trdg_grey"],
    }
    print(json.dumps(figures | {name: round(value, 2) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
