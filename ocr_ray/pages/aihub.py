"""Labels of AI Hub 71716, "수학 과목 자동 풀이 데이터": a page's lines, its pairing with an image, its split.

What is read of a label, UTF-8 with or without a byte order mark:

    {"OCR_info": [{"question_text": str,
                   "question_bbox": [{"type": str, "bbox": [left, top, right, bottom], "text": str}, …]}]}

No raw file is public, so anything that contradicts this shape is refused rather than guessed at.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NoReturn, TypeVar

from ocr_ray.errors import LabelError
from ocr_ray.lines import Reject

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg"})
LABEL_ENDINGS = frozenset({".json"})
EMPTY_TEXTS = frozenset({"", "None"})
"""What stands in the labels where there is no text."""

_T = TypeVar("_T")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One text line of a page as labelled; half-open, in page pixels, not yet checked against the page."""

    index: int
    """Its place in the label, boxes of other types counted."""
    x0: float
    y0: float
    x1: float
    y1: float
    markup: str
    """As in the label; may be empty or `None`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLabel:
    """What a label says about its page."""

    page_id: str
    """The image's file name without its ending, NFC."""
    problem_markup: str
    """The whole problem; where the label leaves it out, its lines joined by spaces."""
    boxes: tuple[Box, ...]
    """Boxes of type `line` in the label's order, which is taken as the reading order."""
    out_of_scope: dict[str, int]
    """Number of boxes of every other type, such as `image` and `table`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """An image and its label; paths are relative to the folder of pages."""

    page_id: str
    image_path: str
    label_path: str


def read_label(content: bytes, page_id: str) -> PageLabel:
    """Return what the JSON of a label says about the page `page_id`.

    Raises:
        LabelError: `bad_json` or `unknown_schema`.
    """
    document = _parse_json(content)
    infos = _expect(_expect(document, dict, "the label").get("OCR_info"), list, "OCR_info")
    if len(infos) != 1:
        raise LabelError("unknown_schema", f"OCR_info must hold one entry, got {len(infos)}")
    info = _expect(infos[0], dict, "OCR_info[0]")
    problem = _expect_text(info.get("question_text"), "question_text")
    boxes: list[Box] = []
    others: Counter[str] = Counter()
    for index, raw_box in enumerate(_expect(info.get("question_bbox"), list, "question_bbox")):
        values = _expect(raw_box, dict, f"question_bbox[{index}]")
        box_type = _expect_text(values.get("type"), f"question_bbox[{index}].type")
        if box_type == "line":
            boxes.append(_read_box(values, index))
        else:
            others[box_type] += 1
    if problem.strip() in EMPTY_TEXTS:
        problem = " ".join(box.markup for box in boxes)
    return PageLabel(
        page_id=unicodedata.normalize("NFC", page_id),
        problem_markup=problem,
        boxes=tuple(boxes),
        out_of_scope=dict(sorted(others.items())),
    )


def _parse_json(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise LabelError("bad_json", str(error)[:200]) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _expect(value: object, kind: type[_T], name: str) -> _T:
    if not isinstance(value, kind):
        found = "nothing" if value is None else type(value).__name__
        raise LabelError("unknown_schema", f"{name} must be a {kind.__name__}, got {found}")
    return value


def _expect_text(value: object, name: str) -> str:
    text = _expect(value, str, name)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair (`"\ud800"`) parses, but can never be written
        raise LabelError("bad_json", f"{name}: {error}") from error
    return text


def _read_box(values: dict[str, Any], index: int) -> Box:
    corners = _expect(values.get("bbox"), list, f"question_bbox[{index}].bbox")
    if len(corners) != 4 or not all(_is_coordinate(corner) for corner in corners):
        raise LabelError("unknown_schema", f"question_bbox[{index}].bbox must be four numbers")
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    text = values.get("text")
    markup = "" if text is None else _expect_text(text, f"question_bbox[{index}].text")
    return Box(index=index, x0=x0, y0=y0, x1=x1, y1=y1, markup=markup)


def _is_coordinate(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def pair_pages(files: Iterable[str]) -> tuple[list[PageFile], list[Reject]]:
    """Return the pages among a folder's relative paths, sorted by `page_id`, and the files that make no page.

    An image and a label belong together if their names without ending are equal in NFC, whatever sub-folders
    they lie in. Of several images or labels of one name the first by path stays. Files of other endings and
    hidden files, such as the `._*.png` that macOS adds to zips, are neither pages nor rejects; every other
    file is in exactly one of the two.
    """
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    rejects: list[Reject] = []
    for path in sorted(files):
        pure_path = PurePosixPath(path)
        ending, page_id = pure_path.suffix.lower(), unicodedata.normalize("NFC", pure_path.stem)
        if pure_path.name.startswith(".") or ending not in IMAGE_ENDINGS | LABEL_ENDINGS:
            continue
        kept = images if ending in IMAGE_ENDINGS else labels
        if kept.setdefault(page_id, path) != path:
            rejects.append(Reject(reason="duplicate_page", detail=path, page_id=page_id))
    pages = [
        PageFile(page_id=page_id, image_path=images[page_id], label_path=labels[page_id])
        for page_id in sorted(images.keys() & labels.keys())
    ]
    for page_id in images.keys() - labels.keys():
        rejects.append(Reject(reason="missing_label", detail=images[page_id], page_id=page_id))
    for page_id in labels.keys() - images.keys():
        rejects.append(Reject(reason="missing_image", detail=labels[page_id], page_id=page_id))
    return pages, sorted(rejects, key=lambda reject: (reject.page_id or "", reject.detail))


def split_of_problem(problem_markup: str, seed: int, validation_share: float) -> str:
    """Return `train` or `validation`, by a hash of the problem's text keyed by `seed`.

    Numbers are masked and white space is dropped before hashing: problems that differ only in numbers would
    otherwise be learnt in one split and recognised in the other. A greater `validation_share` keeps what
    validation had.
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must be from 0 to 1, got {validation_share}")
    masked = _SPACE.sub("", _NUMBER.sub("0", unicodedata.normalize("NFC", problem_markup)))
    digest = hashlib.blake2b(masked.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    share = (int.from_bytes(digest, "little") >> 11) / 2**53  # 53 bits: exact as a float, always below 1
    return "validation" if share < validation_share else "train"
