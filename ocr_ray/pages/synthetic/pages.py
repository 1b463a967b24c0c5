"""Synthetic pages with labels in the formats of AI Hub, for the quickstart and the tests.

AI Hub's pages cannot be redistributed; these share the properties that matter. 71716: about 765 px wide,
RGBA on a transparent background, a gothic font of 15-20 px, lines broken by width only (even inside a word),
maths in `$…$` in the label but not in print, a byte order mark. 71859: RGB, 602-948 px wide, question, answer
and solution on one page, fractional boxes, polygons, boxes of several lines, no-break spaces.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageFont

from ocr_ray.pages.labels.fields import encode_json
from ocr_ray.pages.synthetic.labels import (
    ANSWER,
    QUESTION,
    SOLUTION,
    SyntheticBox,
    box_lines,
    label_71716,
    label_71859,
)
from ocr_ray.pages.synthetic.printing import (
    Corners,
    PillowFont,
    SyntheticLine,
    break_lines,
    draw_figure,
    draw_line,
    print_markup,
)
from ocr_ray.pages.synthetic.problems import CHOICE_SIGNS, SyntheticProblem, Templates, make_problem
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import Location, write_bytes

Schema = Literal["71716", "71859"]

PAGE_WIDTH_PX = 765
"""Of 71716; its most common width."""
PAGE_WIDTHS_PX = (602, 948)
"""Range of 71859, whose pages are mostly near the upper end."""
MIN_PAGE_HEIGHT_PX = 225
"""Of 71859."""
MARGIN_PX = 12
FONT_SIZES_PX = {"71716": (15, 20), "71859": (18, 24)}
FIGURE_SIDES_PX = (70, 120)
INK = (26, 26, 26)

_BEFORE_CHOICE = re.compile(f" (?=[{''.join(CHOICE_SIGNS)}])")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPage:
    """A drawn page with its label, and their content for tests."""

    page_id: str
    image_bytes: bytes
    """PNG: RGBA in 71716, black where transparent; RGB in 71859."""
    label_bytes: bytes
    """UTF-8 JSON with a byte order mark."""
    problem_markup: str
    boxes: tuple[SyntheticBox, ...]
    """The text boxes in the label's order."""
    figure: Corners | None

    @property
    def lines(self) -> tuple[SyntheticLine, ...]:
        """The lines of all boxes, from top to bottom."""
        return tuple(line for box in self.boxes for line in box.lines)


def make_page(
    seed: int,
    number: int,
    *,
    font_bytes: bytes,
    font_index: int = 0,
    font_axes: Sequence[float] = (),
    schema: Schema = "71716",
    templates: Templates = "all",
    width_px: int = PAGE_WIDTH_PX,
    boxes_per_problem: int | None = None,
) -> SyntheticPage:
    """Return the page of `number`, a pure function of the arguments, with a problem of the `templates`.

    `boxes_per_problem` cuts each part of a problem into that many lines of about equal width, in 71716; by
    default lines are as wide as the page.

    `font_bytes` is a .ttf or .ttc with Hangul and `×÷□①`, `font_index` the face within it, `font_axes` the
    values of a variable font. The answers and solutions of 71859 are random and do not solve the problem.
    `width_px` is the width of a 71716 page.
    """
    rng = keyed_generator(seed, "page" if schema == "71716" else f"page {schema}", number)
    problem = make_problem(rng, templates)
    first, last = FONT_SIZES_PX[schema]
    font = ImageFont.truetype(
        io.BytesIO(font_bytes),
        int(rng.integers(first, last + 1)),
        index=font_index,
        layout_engine=ImageFont.Layout.BASIC,  # the same glyph positions with and without libraqm
    )
    if font_axes:
        font.set_variation_by_axes(list(font_axes))
    if schema == "71859":
        return _make_71859(problem, number, font=font, rng=rng)
    return _make_71716(
        problem, number, font=font, rng=rng, page_width_px=width_px, boxes_per_problem=boxes_per_problem
    )


def write_pages(
    location: Location,
    *,
    num_pages: int,
    seed: int,
    font_bytes: bytes,
    **options: Any,
) -> None:
    """Write pages 0 to `num_pages` - 1 to the sub-folders `images` and `labels`.

    `options` are those of `make_page`. Train on pages of the `train` templates and evaluate on pages of the
    `held_out` ones, each in a folder of its own: then no problem of the evaluation is one that training saw
    with other numbers or nouns.
    """
    for number in range(num_pages):
        page = make_page(seed, number, font_bytes=font_bytes, **options)
        write_bytes(location / "images" / f"{page.page_id}.png", page.image_bytes)
        write_bytes(location / "labels" / f"{page.page_id}.json", page.label_bytes)


def _make_71716(
    problem: SyntheticProblem,
    number: int,
    *,
    font: PillowFont,
    rng: np.random.Generator,
    page_width_px: int,
    boxes_per_problem: int | None,
) -> SyntheticPage:
    figure = _place_figure(problem, page_width_px, rng)
    text_width_px = (figure[0] if figure else page_width_px) - 2 * MARGIN_PX
    markups: list[str] = []
    for part in problem.parts:
        width_px = float(text_width_px)
        if boxes_per_problem:
            width_px = min(width_px, 1.05 * font.getlength(print_markup(part)) / boxes_per_problem)
        markups += break_lines(part, font, width_px)
    pitch_px = round(font.size * rng.uniform(1.6, 2.0))
    figure_height_px = figure[3] - figure[1] if figure else 0
    height_px = 2 * MARGIN_PX + max(len(markups) * pitch_px, figure_height_px)
    ink = Image.new("L", (page_width_px, height_px), 0)
    lines = _draw_lines(ink, markups, y_px=MARGIN_PX, pitch_px=pitch_px, font=font, rng=rng)
    if figure:
        draw_figure(ink, figure, rng)
    boxes = tuple(SyntheticBox(corners=line.box, markup=line.markup, lines=(line,)) for line in lines)
    page_id = f"P{problem.grade}_{problem.term}_{problem.unit:02}_{problem.topic:05}_{number:05}"
    return SyntheticPage(
        page_id=page_id,
        image_bytes=_encode_png(_make_transparent(ink)),
        label_bytes=encode_json(label_71716(page_id, problem, boxes, figure)),
        problem_markup=problem.markup,
        boxes=boxes,
        figure=figure,
    )


def _make_71859(
    problem: SyntheticProblem, number: int, *, font: PillowFont, rng: np.random.Generator
) -> SyntheticPage:
    """Return a page with the question, its choices below each other, the answer and the solution."""
    narrowest, widest = PAGE_WIDTHS_PX
    width_px = widest - int((widest - narrowest + 1) * rng.random() ** 3)
    figure = _place_figure(problem, width_px, rng)
    text_width_px = (figure[0] if figure else width_px) - 2 * MARGIN_PX
    question, *choices = problem.parts
    answer = f"${int(rng.integers(2, 1000))}$"
    solution = f"{problem.topic_name} 단원에서 배운 대로 차례차례 계산하여 구하면 답은 {answer}입니다."
    blocks = [
        (QUESTION, list(break_lines(question, font, text_width_px)), bool(rng.random() < 0.5)),
        (QUESTION, [choice for part in choices for choice in _BEFORE_CHOICE.split(part)], False),
        (ANSWER, [answer], False),
        (SOLUTION, list(break_lines(solution, font, text_width_px)), bool(rng.random() < 0.5)),
    ]
    pitch_px = round(font.size * rng.uniform(1.6, 2.0))
    num_rows = sum(len(markups) + 1 for _, markups, _ in blocks if markups)
    ink = Image.new("L", (width_px, max(MIN_PAGE_HEIGHT_PX, 2 * MARGIN_PX + num_rows * pitch_px)), 0)
    boxes: list[SyntheticBox] = []
    y_px = MARGIN_PX
    for part, markups, is_loose in blocks:
        if markups:
            lines = _draw_lines(ink, markups, y_px=y_px, pitch_px=pitch_px, font=font, rng=rng)
            boxes += box_lines(lines, part, is_loose=is_loose, rng=rng)
            y_px += (len(markups) + 1) * pitch_px
    if figure:
        draw_figure(ink, figure, rng)
    page_id = f"S{problem.grade}_초등_{problem.grade}_{number:06}"
    return SyntheticPage(
        page_id=page_id,
        image_bytes=_encode_png(_make_opaque(ink)),
        label_bytes=encode_json(label_71859(page_id, problem, boxes, figure)),
        problem_markup=problem.markup,
        boxes=tuple(boxes),
        figure=figure,
    )


def _draw_lines(
    ink: Image.Image,
    markups: list[str],
    *,
    y_px: int,
    pitch_px: int,
    font: PillowFont,
    rng: np.random.Generator,
) -> list[SyntheticLine]:
    return [
        draw_line(ink, markup, origin=(MARGIN_PX, y_px + rank * pitch_px), font=font, rng=rng)
        for rank, markup in enumerate(markups)
    ]


def _place_figure(problem: SyntheticProblem, width_px: int, rng: np.random.Generator) -> Corners | None:
    """Return the corners of a problem's figure, at the right margin, or None if it has none."""
    if not problem.has_figure:
        return None
    side_px = int(rng.integers(*FIGURE_SIDES_PX))
    x1 = width_px - MARGIN_PX
    return x1 - side_px, MARGIN_PX, x1, MARGIN_PX + side_px


def _make_transparent(ink: Image.Image) -> Image.Image:
    """Return dark ink on transparent black, with the strength of the ink as alpha."""
    page = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    page.paste(INK, mask=ink.point(lambda strength: 255 if strength else 0))
    page.putalpha(ink)
    return page


def _make_opaque(ink: Image.Image) -> Image.Image:
    """Return dark ink on white, RGB."""
    page = Image.new("RGB", ink.size, "white")
    page.paste(INK, mask=ink)
    return page


def _encode_png(page: Image.Image) -> bytes:
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()
