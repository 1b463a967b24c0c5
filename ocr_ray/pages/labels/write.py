"""Label files written back with the texts that a model has read.

A label of 71716 keeps everything but its texts. A label of 71859 becomes one of 71716 with its question and
choices; answer and solution are left out, because in 71716 they are separate files.
"""

from collections.abc import Mapping
from dataclasses import replace

from ocr_ray.pages.labels.aihub_71716 import build_document
from ocr_ray.pages.labels.fields import encode_json, expect_object, parse_json
from ocr_ray.pages.labels.page_label import PageLabel, join_markup
from ocr_ray.pages.labels.read import SCHEMAS


def write_label(content: bytes, label: PageLabel, *, markups: Mapping[int, str], image_name: str) -> bytes:
    """Return the label file with new texts of its boxes: UTF-8 with a byte order mark.

    `content` is the file that `label` was read from. `markups` are by box index; the rows of a box are
    separated by line breaks. A box without an entry keeps its text. The text of the whole problem becomes
    the texts of all boxes joined by spaces. If it only differed in white space it stays, because its spaces
    show which lines end inside a word.
    """
    boxes = tuple(replace(box, markup=markups.get(box.index, box.markup)) for box in label.boxes)
    joined = join_markup(boxes)
    is_same = "".join(label.problem_markup.split()) == "".join(joined.split())
    filled = replace(label, boxes=boxes, problem_markup=label.problem_markup if is_same else joined)
    fill = SCHEMAS[label.schema].fill
    if fill is None:
        return encode_json(build_document(filled, image_name))
    return encode_json(fill(expect_object(parse_json(content), "the label"), filled, markups))
