"""Lines cut from the boxes of a page, always from its original pixels.

`cut_boxes` finds the rows of print in every box, whether or not the texts of the boxes are known. `crop_page`
makes a line of each row whose text is known.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ocr_ray.dataset.ink import Ink, Pixels, find_ink
from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.dataset.stored_rows import MAX_TEXT_LENGTH
from ocr_ray.errors import CropError, LabelError, RowError
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.files.page_image import MAX_PAGE_PIXELS, encode_line
from ocr_ray.pages.labels.page_label import EMPTY_TEXTS, Box, PageLabel
from ocr_ray.pages.layout.text_rows import find_bands, pad_bands, trim_columns
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import count_lone_mieum, split_markup, to_text

MIN_SIDE_PX = 4
"""A lower or narrower box holds no printed character."""
MAX_QUOTE_LENGTH = 40
MAX_CROPPED_PIXELS = 4 * MAX_PAGE_PIXELS
"""In all crops of a page: boxes of print hardly overlap; a thousand as large as the page fill memory."""

Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in page pixels, half-open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """One row of print on a page."""

    box_index: int
    name: str
    """The end of its `line_id`: the box's index; followed by `.` and the row's, if the box has several."""
    order: int
    """Position among the rows of the page; a rejected box leaves a gap."""
    corners: Corners
    has_ink: bool = True
    text: str = ""
    """As printed, canonical, with single spaces; empty if unknown."""
    markup: str = ""
    """As in the label, NFC; empty if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCrops:
    """The lines cut from a page, and the boxes that gave none."""

    lines: list[TextLine]
    rejects: list[Reject]
    warnings: dict[str, int]
    """Number of odd lines by kind: `text_not_in_problem`, `lone_mieum` (ㅁ in a formula, read as □),
    `no_ink`; and what is odd about the page."""


def crop_page(
    label: PageLabel, page: Image.Image, style: CropStyle, page_warnings: Iterable[str] = ()
) -> PageCrops:
    """Return the lines of a page, or the whole page as one line, as `style.mode` says.

    Every box is in the lines or is one reject; so is the page if it has no boxes. `page` is greyscale, as
    `decode_page` returns it with its warnings.
    """
    rows: Sequence[TextRow]
    if style.mode == "page":
        rows, rejects = _take_whole_page(label, page)
    else:
        rows, rejects = cut_boxes(label, page, with_texts=True, margin_px=style.margin_px)
        if not label.boxes:
            detail = f"its label has {label.out_of_scope or 'no boxes'}"
            rejects.append(Reject(reason="no_line_boxes", detail=detail, page_id=label.page_id))
    warnings = Counter(page_warnings)
    warnings["lone_mieum"] = sum("ㅁ" in row.markup and count_lone_mieum(row.markup) > 0 for row in rows)
    warnings["no_ink"] = sum(not row.has_ink for row in rows)
    if style.mode == "line":
        is_in_problem = _match_problem(label)
        warnings["text_not_in_problem"] = sum(not is_in_problem(row) for row in rows)
    return PageCrops(
        lines=[_make_line(label, row, page, style) for row in rows],
        rejects=rejects,
        warnings=dict(sorted((+warnings).items())),
    )


def cut_boxes(
    label: PageLabel, page: Image.Image, *, with_texts: bool, margin_px: int = 0
) -> tuple[list[TextRow], list[Reject]]:
    """Return the rows of print in the boxes of a label, and a reject for each box that cannot be cut.

    With texts, a box is cut into as many rows as its text has lines, and rejected if its print has another
    number of rows. Without, the label's texts are ignored, and a box is cut where its rows are clearly apart.
    Rows are not cropped yet; with their margins, those of a page have at most `MAX_CROPPED_PIXELS`.
    """
    pixels = np.asarray(page)
    left_px = MAX_CROPPED_PIXELS
    rows: list[TextRow] = []
    rejects: list[Reject] = []
    order = 0
    for box in label.boxes:
        markups = ([nfc(markup) for markup in split_markup(box.markup)] or [""]) if with_texts else None
        try:
            rows_of_box = _cut_box(pixels, box, markups, order, left_px)
            left_px = _subtract_rows(left_px, rows_of_box, page, margin_px)
        except RowError as error:
            rejects.append(
                Reject(reason=error.reason, detail=error.detail, page_id=label.page_id, box=f"{box.index}")
            )
            order += len(markups or [""])
        else:
            rows += rows_of_box
            order += len(rows_of_box)
    return rows, rejects


def crop_row(page: Image.Image, row: TextRow, margin_px: int) -> Image.Image:
    """Return the part of a page that shows a row, with a margin as far as the page reaches."""
    return page.crop(_add_margin(row, page, margin_px))


def _add_margin(row: TextRow, page: Image.Image, margin_px: int) -> Corners:
    x0, y0, x1, y1 = row.corners
    return (
        max(x0 - margin_px, 0),
        max(y0 - margin_px, 0),
        min(x1 + margin_px, page.width),
        min(y1 + margin_px, page.height),
    )


def _subtract_rows(left_px: int, rows: Iterable[TextRow], page: Image.Image, margin_px: int) -> int:
    """Return how many pixels of a page can still be cropped after these rows.

    Raises:
        CropError: `boxes_too_large`.
    """
    crops = (_add_margin(row, page, margin_px) for row in rows)
    return left_px - _expect_pixels(sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in crops), left_px)


def _expect_pixels(num_px: int, left_px: int) -> int:
    if num_px > left_px:
        detail = f"it has {num_px} px with its margin; {left_px} are left of {MAX_CROPPED_PIXELS} for a page"
        raise CropError("boxes_too_large", detail)
    return num_px


def clip_box(box: Box, width_px: int, height_px: int) -> Corners:
    """Return the corners of a box on a page, rounded outwards to whole pixels and clipped to the page.

    Raises:
        CropError: `empty_box`, `box_outside_page` or `box_too_small`.
    """
    corners = f"[{box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}]"
    if not (box.x0 < box.x1 and box.y0 < box.y1):  # holds for NaN as well
        raise CropError("empty_box", f"{corners} must have left < right and top < bottom")
    if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= width_px or box.y0 >= height_px:
        raise CropError("box_outside_page", f"{corners} on a page of {width_px}x{height_px} px")
    x0, y0 = math.floor(max(box.x0, 0)), math.floor(max(box.y0, 0))
    x1, y1 = math.ceil(min(box.x1, width_px)), math.ceil(min(box.y1, height_px))
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        raise CropError("box_too_small", f"{corners} leaves {x1 - x0}x{y1 - y0} px, {MIN_SIDE_PX} are needed")
    return x0, y0, x1, y1


def print_line(markup: str) -> str:
    """Return what a line of markup looks like in print, canonical and with single spaces.

    Raises:
        LabelError: `empty_text`, `long_text` or `unsupported_markup`.
    """
    is_long = len(markup) > MAX_TEXT_LENGTH
    text = "" if is_long or markup in EMPTY_TEXTS else " ".join(canonical(to_text(markup)).split())
    if is_long or len(text) > MAX_TEXT_LENGTH:
        raise LabelError("long_text", f"a line can have {MAX_TEXT_LENGTH} characters, got {len(markup)}")
    if not text:
        raise LabelError("empty_text", f"the label's text is {markup[:MAX_QUOTE_LENGTH]!r}")
    return text


def _cut_box(
    pixels: Pixels, box: Box, markups: Sequence[str] | None, order: int, left_px: int
) -> list[TextRow]:
    """Return the rows of a box from top to bottom, at least one; `markups` are its lines, None if unknown.

    The box can have `left_px` pixels.

    Raises:
        RowError: the reason why the box gives no rows.
    """
    texts = None if markups is None else [print_line(markup) for markup in markups]
    height_px, width_px = pixels.shape
    x0, y0, x1, y1 = clip_box(box, width_px, height_px)
    _expect_pixels((x1 - x0) * (y1 - y0), left_px)
    ink = find_ink(pixels[y0:y1, x0:x1])
    bands = find_bands(ink, len(texts or [""]))
    corners_by_name: dict[str, Corners] = {}
    if _is_one_row(ink, bands, texts):
        corners_by_name[f"{box.index}"] = x0, y0, x1, y1
    elif texts is not None and len(bands) != len(texts):
        raise CropError("multi_line_box", f"rows of print: {len(bands)}, lines in the text: {len(texts)}")
    else:
        for rank, (top, bottom) in enumerate(pad_bands(bands, y1 - y0)):
            left, right = trim_columns(ink[top:bottom])
            corners_by_name[f"{box.index}.{rank}"] = x0 + left, y0 + top, x0 + right, y0 + bottom
    return [
        TextRow(
            box_index=box.index,
            name=name,
            order=order + rank,
            corners=corners,
            has_ink=bool(bands),
            text=texts[rank] if texts else "",
            markup=markups[rank] if markups else "",
        )
        for rank, (name, corners) in enumerate(corners_by_name.items())
    ]


def _is_one_row(ink: Ink, bands: Sequence[tuple[int, int]], texts: Sequence[str] | None) -> bool:
    """Return whether a box shows a single row; its bands may be parts of one syllable, such as `승`."""
    if texts is not None and len(texts) > 1:
        return False
    if len(bands) < 2:
        return True
    if texts is not None and len(texts[0]) > 1:
        return False
    left, right = trim_columns(ink)
    height_px = bands[-1][1] - bands[0][0]
    return height_px <= right - left <= 1.5 * height_px


def _take_whole_page(label: PageLabel, page: Image.Image) -> tuple[list[TextRow], list[Reject]]:
    """Return the page as one row whose text is the problem, or why it cannot be one."""
    whole = Box(index=0, x0=0, y0=0, x1=page.width, y1=page.height, markup=label.problem_markup)
    markup = nfc(whole.markup).strip()
    try:
        text = print_line(markup)
        corners = clip_box(whole, page.width, page.height)
    except RowError as error:
        return [], [Reject(reason=error.reason, detail=error.detail, page_id=label.page_id)]
    return [TextRow(box_index=0, name="page", order=0, corners=corners, text=text, markup=markup)], []


def _match_problem(label: PageLabel) -> Callable[[TextRow], bool]:
    """Return the test of whether a row is part of the label's problem: as printed, or else in markup."""
    try:
        problem = _remove_spaces(canonical(to_text(nfc(label.problem_markup))))
    except LabelError:
        problem = _remove_spaces(nfc(label.problem_markup)).replace("$", "")
        return lambda row: _remove_spaces(row.markup).replace("$", "") in problem
    return lambda row: _remove_spaces(row.text) in problem


def _remove_spaces(text: str) -> str:
    return "".join(text.split())


def _make_line(label: PageLabel, row: TextRow, page: Image.Image, style: CropStyle) -> TextLine:
    image = crop_row(page, row, style.margin_px)
    return TextLine(
        line_id=f"{label.page_id}#{row.name}",
        image_bytes=encode_line(image, style.image),
        text=row.text,
        markup=row.markup,
        source="page",
        width_px=image.width,
        height_px=image.height,
        page_id=label.page_id,
        page_order=row.order,
    )
