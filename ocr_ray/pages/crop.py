"""Lines cut out of their page: always of the original pixels, never of a resized page."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from ocr_ray.dataset.ink import Ink, Pixels, find_ink
from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.errors import CropError, LabelError, RowError
from ocr_ray.pages.crop_config import CropStyle
from ocr_ray.pages.labels.read import EMPTY_TEXTS, Box, PageLabel
from ocr_ray.pages.layout.text_rows import find_bands, pad_bands, trim_columns
from ocr_ray.pages.page_image import Corners, clip_box, crop_line, encode_line, widen
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import count_lone_mieum, split_markup, to_text

cv2.setNumThreads(0)

MAX_QUOTE_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCrops:
    """What became of the boxes of a page."""

    lines: list[TextLine]
    rejects: list[Reject]
    warnings: dict[str, int]
    """Number of lines by what is odd about them: `text_not_in_problem`, `lone_mieum` (ㅁ in a formula, read
    as □), `no_ink`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A line that can be cut out: where it is and what it says."""

    name: str
    """Its place in the label, which ends its `line_id`."""
    corners: Corners
    markup: str
    text: str
    has_ink: bool = True


def crop_page(label: PageLabel, page: Image.Image, style: CropStyle) -> PageCrops:
    """Return the lines of every box of the label, or the reason why there are none; likewise for the page.

    A line's text is in canonical form with single spaces; its markup is what the label says, in NFC. A box
    of several lines is cut between its rows of print if its text has as many lines. `page` is greyscale, as
    `open_page` returns it. `page_order` counts lines in the label's order, those of rejected boxes too, so
    that these leave a gap.
    """
    crops = PageCrops(lines=[], rejects=[], warnings={})

    def reject(reason: str, detail: str, box: str | None = None) -> None:
        crops.rejects.append(Reject(reason=reason, detail=detail, page_id=label.page_id, box=box))

    if style.mode == "page":
        try:
            piece = _find_page(label, page)
            crops.lines.append(_make_line(label, piece, page=page, style=style))
            crops.warnings.update(_find_odd(piece))
        except RowError as error:
            reject(error.reason, error.detail)
        return crops
    if not label.boxes:
        reject("no_line_boxes", f"its label has {label.out_of_scope or 'no boxes'}")
    pixels, stands_in_problem = np.asarray(page), _read_problem(label)
    warnings: Counter[str] = Counter()
    order = 0
    for box in label.boxes:
        try:
            pieces = _cut_box(page, pixels, box)
        except RowError as error:
            reject(error.reason, error.detail, str(box.index))
        else:
            for rank, piece in enumerate(pieces):
                crops.lines.append(_make_line(label, piece, order + rank, page=page, style=style))
                warnings.update(_find_odd(piece))
                warnings["text_not_in_problem"] += not stands_in_problem(piece)
        order += max(1, len(split_markup(box.markup)))
    crops.warnings.update(sorted((+warnings).items()))
    return crops


def cut_lines(label: PageLabel, page: Image.Image) -> Iterator[tuple[str, str, Pixels]]:
    """Yield id, text and grey pixels, without margin, of each line that `crop_page` would cut out."""
    pixels = np.asarray(page)
    for box in label.boxes:
        try:
            pieces = _cut_box(page, pixels, box)
        except RowError:
            continue  # a reject where the page is cropped
        for piece in pieces:
            x0, y0, x1, y1 = piece.corners
            yield f"{label.page_id}#{piece.name}", piece.text, pixels[y0:y1, x0:x1]


def _find_page(label: PageLabel, page: Image.Image) -> _Piece:
    """Return the whole page as one line whose text is the problem."""
    whole = Box(index=0, x0=0, y0=0, x1=page.width, y1=page.height, markup=label.problem_markup)
    markup = nfc(whole.markup).strip()
    return _Piece(name="page", text=print_line(markup), corners=clip_box(whole, page), markup=markup)


def _cut_box(page: Image.Image, pixels: Pixels, box: Box) -> list[_Piece]:
    """Return the lines of a box from top to bottom, mostly one.

    Raises:
        RowError: the reason why the box gives no line.
    """
    markups = [nfc(markup) for markup in split_markup(box.markup)] or [""]
    texts = [print_line(markup) for markup in markups]
    x0, y0, x1, y1 = corners = clip_box(box, page)
    ink = find_ink(pixels[y0:y1, x0:x1])
    bands = find_bands(ink, len(texts))
    if len(texts) == 1 and (len(bands) < 2 or _is_syllable(texts[0], ink, bands)):
        name = f"{box.index}"
        return [_Piece(name=name, corners=corners, markup=markups[0], text=texts[0], has_ink=bool(bands))]
    if len(bands) != len(texts):
        found = f"rows of print: {len(bands)}, lines in the text: {len(texts)}"
        raise CropError("multi_line_box", found)
    pieces = []
    for rank, (top, bottom) in enumerate(pad_bands(bands, y1 - y0)):
        left, right = trim_columns(ink[top:bottom])
        pieces.append(
            _Piece(
                name=f"{box.index}.{rank}",
                corners=(x0 + left, y0 + top, x0 + right, y0 + bottom),
                markup=markups[rank],
                text=texts[rank],
            )
        )
    return pieces


def _is_syllable(text: str, ink: Ink, bands: list[tuple[int, int]]) -> bool:
    """Return whether the bands are only the parts of one character, such as `승`, far apart."""
    left, right = trim_columns(ink)
    height = bands[-1][1] - bands[0][0]
    return len(text) == 1 and height <= right - left <= 1.5 * height


def print_line(markup: str) -> str:
    """Return what a line of markup looks like in print, canonical and with single spaces.

    Raises:
        LabelError: `empty_text` or `unsupported_markup`.
    """
    text = "" if markup in EMPTY_TEXTS else " ".join(canonical(to_text(markup)).split())
    if not text:
        raise LabelError("empty_text", f"the label's text is {markup[:MAX_QUOTE_LENGTH]!r}")
    return text


def _read_problem(label: PageLabel) -> Callable[[_Piece], bool]:
    """Return the test of whether a line is part of the label's problem, in print or else in markup."""
    try:
        problem = _squeeze(canonical(to_text(nfc(label.problem_markup))))
    except LabelError:
        problem = _squeeze(nfc(label.problem_markup)).replace("$", "")
        return lambda piece: _squeeze(piece.markup).replace("$", "") in problem
    return lambda piece: _squeeze(piece.text) in problem


def _squeeze(text: str) -> str:
    return "".join(text.split())


def _find_odd(piece: _Piece) -> Counter[str]:
    """Return what is odd about a line by itself, each at most once."""
    has_lone_mieum = "ㅁ" in piece.markup and count_lone_mieum(piece.markup) > 0
    return +Counter(lone_mieum=int(has_lone_mieum), no_ink=int(not piece.has_ink))


def _make_line(
    label: PageLabel, piece: _Piece, order: int = 0, *, page: Image.Image, style: CropStyle
) -> TextLine:
    image = page.crop(widen(piece.corners, page, style.margin_px))
    return TextLine(
        line_id=f"{label.page_id}#{piece.name}",
        image_bytes=encode_line(image, style.image),
        text=piece.text,
        markup=piece.markup,
        source="page",
        width_px=image.width,
        height_px=image.height,
        page_id=label.page_id,
        page_order=order,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip:
    """One row of print that is to be read."""

    box_index: int
    name: str
    """Ends its `line_id`: the box, and behind a dot the row if it has several."""
    order: int
    """Its place among the rows of the page; one that could not be cut leaves a gap."""
    image: Image.Image
    """Greyscale (`L`), the page's own pixels."""
    has_ink: bool


def cut_strips(page: Image.Image, box: Box, *, order: int, margin_px: int) -> list[Strip]:
    """Return the rows of print in a box from top to bottom, at least one; `order` is that of the first.

    Rows that stand clearly apart are several. `page` is greyscale, as `open_page` returns it. What the label
    says of the box's text is not asked; where it says it, these are the lines that `crop_page` cuts out.

    Raises:
        CropError: `empty_box`, `box_outside_page` or `box_too_small`.
    """
    inside = crop_line(page, box)
    ink = find_ink(np.asarray(inside))
    bands = find_bands(ink, 1)
    if len(bands) < 2 or _may_be_syllable(ink, bands):
        image = crop_line(page, box, margin_px)
        name = f"{box.index}"
        return [Strip(box_index=box.index, name=name, order=order, image=image, has_ink=bool(bands))]
    x0, y0 = max(int(box.x0), 0), max(int(box.y0), 0)
    strips = []
    for rank, (top, bottom) in enumerate(pad_bands(bands, inside.height)):
        left, right = trim_columns(ink[top:bottom])
        row = replace(box, x0=x0 + left, y0=y0 + top, x1=x0 + right, y1=y0 + bottom)
        strips.append(
            Strip(
                box_index=box.index,
                name=f"{box.index}.{rank}",
                order=order + rank,
                image=crop_line(page, row, margin_px),
                has_ink=True,
            )
        )
    return strips


def _may_be_syllable(ink: Ink, bands: list[tuple[int, int]]) -> bool:
    """Return whether the print is no wider than one character, such as `승`, whose parts stand far apart."""
    left, right = trim_columns(ink)
    height = bands[-1][1] - bands[0][0]
    return height <= right - left <= 1.5 * height
