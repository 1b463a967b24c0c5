"""What any label says of its page: the schema is told from each file, and read by the module of its name."""

from ocr_ray.errors import LabelError, OutOfScopeError
from ocr_ray.pages.labels import aihub_71716, aihub_71859
from ocr_ray.pages.labels.fields import MAX_LABEL_BYTES, expect_object, parse_json
from ocr_ray.pages.labels.page_label import EMPTY_TEXTS, Box, BoxFormat, PageLabel, Schema

__all__ = [
    "EMPTY_TEXTS",
    "MAX_LABEL_BYTES",
    "Box",
    "BoxFormat",
    "PageLabel",
    "Schema",
    "read_label",
]

_OUT_OF_SCOPE = {"answer_info": "answer", "explanation_info": "handwriting"}
"""What the other files of 71716 hold instead of a problem."""


def read_label(content: bytes, page_id: str, *, box_format: BoxFormat = "xyxy") -> PageLabel:
    """Return what the JSON of a label says about the page `page_id`; `box_format` is for 71716 alone.

    Raises:
        LabelError: `bad_json` or `unknown_schema`, with the place in the label and what was found there.
        OutOfScopeError: a model answer or a handwritten solution.
    """
    document = expect_object(parse_json(content), "the label")
    schemas = document.keys() & {"OCR_info", "learning_data_info"}
    if len(schemas) == 1:
        if "OCR_info" in schemas:
            return aihub_71716.read_page(document, page_id, box_format=box_format)
        return aihub_71859.read_page(document, page_id)
    for key, kind in _OUT_OF_SCOPE.items():
        if key in document and not schemas:
            raise OutOfScopeError(kind, f"holds {key}")
    found = "both" if schemas else f"{len(document)} other keys"
    raise LabelError("unknown_schema", f"the label must hold OCR_info or learning_data_info, got {found}")
