"""Speed of the renderer, compared with trdg and with the encoding of images alone.

    python -m benchmarks.render

Alternates between three tasks in one process with the same texts, fonts and styles, so that a busy
machine slows down all of them:

- trdg as in its README, in its default RGB, then Pillow's resize and JPEG;
- the renderer, up to the encoded bytes, after a warm-up on other lines, as in a worker with many parts;
- the floor: one resize and one JPEG of a finished canvas, which no renderer of such images can avoid.

The last line of the output is JSON: `ratio` is the rate of the renderer over that of trdg, `floor_share` over
that of the floor, `ratio_grey` over that of trdg in greyscale.
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
from ocr_ray.render import fast
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts, shared_characters
from ocr_ray.render.style import LineStyle, StyleConfig, choose_font, draw_style, restrict_to_trdg
from ocr_ray.textgen.corpus import read_corpus
from ocr_ray.textgen.sampler import TextConfig, TextInputs, TextSampler

SEED, LINES_PER_TURN, TURNS = 7, 300, 4
NUM_WARM_UP_LINES = 15_000
SQUARE = (SQUARE_SIZE_PX, SQUARE_SIZE_PX)


class _OldFont(ImageFont.FreeTypeFont):
    """A font with the method that Pillow 10 removed, without which trdg 1.8.0 draws nothing."""

    def getsize(self, text: str) -> tuple[int, int]:
        _, _, right, bottom = self.getbbox(text)
        return int(right), int(bottom)


computer_text_generator.ImageFont = SimpleNamespace(truetype=lambda font, size: _OldFont(font, size))


def render_with_trdg(text: str, path: str, style: LineStyle, mode: str) -> bytes:
    """Return the JPEG of a line drawn by trdg, resized and encoded by Pillow."""
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
    """Return the processor time of `work` for the numbers, in seconds."""
    started_s = time.process_time()
    for number in numbers:
        work(number)
    return time.process_time() - started_s


def main() -> None:
    """Run all tasks alternately and print their rates."""
    fonts = {font.name: font for font in find_available_fonts(DEFAULT_FONTS)}
    inputs = TextInputs(words=read_corpus(None).words, characters=shared_characters(list(fonts.values())))
    sampler, config = TextSampler(inputs, TextConfig()), ImageConfig()
    num_lines = LINES_PER_TURN * TURNS + NUM_WARM_UP_LINES
    texts = [sampler.draw(SEED, number).text for number in range(num_lines)]
    names = [choose_font(list(fonts), SEED, number) for number in range(num_lines)]
    drawn = [draw_style(StyleConfig(), SEED, number) for number in range(num_lines)]
    styles = [replace(restrict_to_trdg(style), font_size_px=style.font_size_px) for style in drawn]

    lines = [(text, fonts[name], style) for text, name, style in zip(texts, names, styles, strict=True)]

    def render(number: int) -> bytes:
        return fast.encode_line(*lines[number], config)[0]

    def encode_canvas(number: int) -> bytes:
        return fast.encode_canvas(canvases[number % LINES_PER_TURN], config)

    canvases = [fast.draw_line(*lines[number])[0] for number in range(LINES_PER_TURN)]
    measure(render, range(LINES_PER_TURN * TURNS, num_lines))
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for font in fonts.values():
            paths[font.name] = f"{folder}/{font.sha256}-{font.file_name}"
            Path(paths[font.name]).write_bytes(font.content)

        def trdg_in(mode: str) -> Callable[[int], bytes]:
            return lambda number: render_with_trdg(texts[number], paths[names[number]], styles[number], mode)

        tasks: dict[str, Callable[[int], Any]] = {
            "trdg": trdg_in("RGB"),
            "trdg_grey": trdg_in("L"),
            "renderer": render,
            "floor": encode_canvas,
            "text": lambda number: (sampler.draw(SEED, number), draw_style(StyleConfig(), SEED, number)),
        }
        seconds = dict.fromkeys(tasks, 0.0)
        for turn, (name, task) in itertools.product(range(TURNS), tasks.items()):
            seconds[name] += measure(task, range(turn * LINES_PER_TURN, (turn + 1) * LINES_PER_TURN))
    rates = {name: LINES_PER_TURN * TURNS / taken for name, taken in seconds.items()}
    print(f"text and style only: {rates['text']:.0f} lines/s on one core", file=sys.stderr)
    values = {f"{name}_per_s": round(rates[name], 1) for name in ("trdg", "renderer", "floor", "trdg_grey")}
    ratios = {
        "ratio": rates["renderer"] / rates["trdg"],
        "floor_share": rates["renderer"] / rates["floor"],
        "ratio_grey": rates["renderer"] / rates["trdg_grey"],
    }
    print(json.dumps(values | {name: round(value, 2) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
