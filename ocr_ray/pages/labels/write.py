"""Labels written in the format of AI Hub 71716, with texts that were read.

What a label of 71716 says besides stays as it is. One of 71859 becomes a label of 71716 that holds its
question and choices; its answer and solution are files of their own there, and are left out.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ocr_ray.pages.labels.aihub_71716 import LINE
from ocr_ray.pages.labels.fields import expect_object, parse_json
from ocr_ray.pages.labels.page_label import PageLabel, join_markup
from ocr_ray.pages.synthetic.labels import encode_label


def write_label(content: bytes, label: PageLabel, *, markups: Mapping[int, str], image_name: str) -> bytes:
    """Return the label's file with the texts of boxes replaced: UTF-8 with a byte order mark.

    `content` is the file that `label` was read from; `markups` are by the boxes' index, and the rows of a box
    of several stand between line breaks. A box without any keeps its text. `question_text` is all of them
    joined by spaces; if the label has the same but for white space that stays, since it tells which lines
    break inside a word.
    """
    boxes = tuple(replace(box, markup=markups.get(box.index, box.markup)) for box in label.boxes)
    joined = join_markup(boxes)
    problem = label.problem_markup if _squeeze(label.problem_markup) == _squeeze(joined) else joined
    filled = replace(label, boxes=boxes, problem_markup=problem)
    if label.schema == "71716":
        return encode_label(_fill(expect_object(parse_json(content), "the label"), filled, markups))
    return encode_label(_build(filled, image_name))


def _fill(document: dict[str, Any], label: PageLabel, markups: Mapping[int, str]) -> dict[str, Any]:
    """Return the label with its texts; its shape was checked when it was read."""
    info = document["OCR_info"][0]
    for index, markup in markups.items():
        info["question_bbox"][index]["text"] = markup
    info["question_text"] = label.problem_markup
    return document


def _build(label: PageLabel, image_name: str) -> dict[str, Any]:
    entries = [
        {
            "type": LINE,
            "bbox": [_shorten(side) for side in (box.x0, box.y0, box.x1, box.y1)],
            "text": box.markup,
        }
        for box in label.boxes
    ]
    return {
        "question_filename": image_name,
        "id": label.page_id,
        "OCR_info": [{"figure_text": "", "question_text": label.problem_markup, "question_bbox": entries}],
    }


def _shorten(side: float) -> float:
    return int(side) if side.is_integer() else side


def _squeeze(markup: str) -> str:
    return "".join(markup.split())
