"""Lines cut out of their page: always of the original pixels, never of a resized page."""

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from ocr_ray.dataset.images import SQUARE_SIZE_PX, ImageConfig, encode_image
from ocr_ray.dataset.lines import Reject, TextLine
from ocr_ray.errors import CropError, LabelError, RowError
from ocr_ray.pages.labels.read import EMPTY_TEXTS, Box, PageLabel
from ocr_ray.pages.layout.text_rows import Ink, Pixels, find_bands, find_ink, pad_bands, trim_columns
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import count_lone_mieum, split_markup, to_text

cv2.setNumThreads(0)

MAX_PAGE_PIXELS = 50_000_000
MAX_PAGE_SIDE_PX = 65_500
"""The longest side that a JPEG may have."""
MIN_SIDE_PX = 4
"""Anything lower or narrower holds no printed character."""
MAX_QUOTE_LENGTH = 40
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 2, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
"""A row of a stretched line is much like the one above: a third of the time of `images`, and 16 % smaller."""

_Corners = tuple[int, int, int, int]
"""x0, y0, x1, y1 in page pixels, half-open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropStyle:
    """What is cut out of a page, and how it is stored."""

    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))
    margin_px: int = 0
    """Added to each side of a box, as far as the page reaches."""
    mode: Literal["line", "page"] = "line"
    """line: each labelled line; page: the whole page as one line, with the problem as its text."""

    def __post_init__(self) -> None:
        if self.margin_px < 0:
            raise ValueError(f"margin_px must be at least 0, got {self.margin_px}")
        if self.mode not in ("line", "page"):
            raise ValueError(f"mode must be line or page, got {self.mode!r}")


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
    corners: _Corners
    markup: str
    text: str
    has_ink: bool = True


def open_page(content: bytes) -> Image.Image:
    """Return a PNG or JPEG page as 8-bit greyscale (`L`), what is transparent flattened on white.

    EXIF orientation is ignored: labels count in the stored pixels.

    Raises:
        CropError: `bad_image`: truncated, another format, or too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            width_px, height_px = image.size
            if width_px * height_px > MAX_PAGE_PIXELS or max(image.size) > MAX_PAGE_SIDE_PX:
                raise CropError(
                    "bad_image", f"a page may have {MAX_PAGE_PIXELS} px, got {width_px}x{height_px}"
                )
            image.load()
            return _flatten(image)
    # Pillow's readers raise `OSError` on truncated files, `SyntaxError` on broken PNG chunks.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CropError("bad_image", str(error)[:200]) from error


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip at 255 where the range must be scaled
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("L")
    rgba = image.convert("RGBA")
    page = Image.new("L", image.size, 255)
    page.paste(rgba.convert("L"), mask=rgba.getchannel("A"))
    return page


def crop_line(page: Image.Image, box: Box, margin_px: int = 0) -> Image.Image:
    """Return the part of `page` inside `box` and the margin, clipped to the page, in whole pixels.

    Raises:
        CropError: `empty_box`, `box_outside_page` or `box_too_small`, whatever the margin.
    """
    return page.crop(_widen(_clip(box, page), page, margin_px))


def _clip(box: Box, page: Image.Image) -> _Corners:
    """Return the corners of a box on its page, rounded outwards to whole pixels."""
    found = f"[{box.x0:g}, {box.y0:g}, {box.x1:g}, {box.y1:g}]"
    if not (box.x0 < box.x1 and box.y0 < box.y1):  # holds for NaN as well
        raise CropError("empty_box", f"{found} must have left < right and top < bottom")
    if box.x1 <= 0 or box.y1 <= 0 or box.x0 >= page.width or box.y0 >= page.height:
        raise CropError("box_outside_page", f"{found} on a page of {page.width}x{page.height} px")
    x0, y0 = math.floor(max(box.x0, 0)), math.floor(max(box.y0, 0))
    x1, y1 = math.ceil(min(box.x1, page.width)), math.ceil(min(box.y1, page.height))
    if min(x1 - x0, y1 - y0) < MIN_SIDE_PX:
        raise CropError("box_too_small", f"{found} leaves {x1 - x0}x{y1 - y0} px, {MIN_SIDE_PX} are needed")
    return x0, y0, x1, y1


def _widen(corners: _Corners, page: Image.Image, margin_px: int) -> _Corners:
    x0, y0, x1, y1 = corners
    return (
        max(x0 - margin_px, 0),
        max(y0 - margin_px, 0),
        min(x1 + margin_px, page.width),
        min(y1 + margin_px, page.height),
    )


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
    return _Piece(name="page", text=print_line(markup), corners=_clip(whole, page), markup=markup)


def _cut_box(page: Image.Image, pixels: Pixels, box: Box) -> list[_Piece]:
    """Return the lines of a box from top to bottom, mostly one.

    Raises:
        RowError: the reason why the box gives no line.
    """
    markups = [nfc(markup) for markup in split_markup(box.markup)] or [""]
    texts = [print_line(markup) for markup in markups]
    x0, y0, x1, y1 = corners = _clip(box, page)
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
    image = page.crop(_widen(piece.corners, page, style.margin_px))
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


def encode_line(image: Image.Image, config: ImageConfig) -> bytes:
    """Return the file of a line; its pixels are those that `encode_image` stores."""
    if config.size == "native" or config.format == "jpeg":
        return encode_image(image, config)
    square = image.resize((SQUARE_SIZE_PX, SQUARE_SIZE_PX), Image.Resampling.BILINEAR)
    return bytes(cv2.imencode(".png", np.asarray(square), PNG_OPTIONS)[1])
