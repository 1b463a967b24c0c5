"""Label files: one table of the schemas that can be read and written back.

To add a schema, write a module like `aihub_71859.py` with a function `read_page` that returns a `PageLabel`
and raises `LabelError` for any file it does not understand; `fields.py` has the checks. Then add an entry to
`SCHEMAS`. Nothing else in the package depends on the schema: `label_pages` (`write.py`) writes its labels
back through `LabelSchema.fill`, or as labels of 71716 if that is None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ocr_ray.errors import LabelError, OutOfScopeError
from ocr_ray.pages.labels import aihub_71716, aihub_71859
from ocr_ray.pages.labels.fields import MAX_LABEL_BYTES, expect_object, parse_json
from ocr_ray.pages.labels.image_size import find_image_size
from ocr_ray.pages.labels.page_label import Box, BoxFormat, PageLabel

__all__ = ["MAX_LABEL_BYTES", "SCHEMAS", "Box", "BoxFormat", "LabelSchema", "PageLabel", "read_label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSchema:
    """How labels of one schema are recognised, read and written back."""

    key: str
    """The top-level key that only labels of this schema have."""
    read: Callable[[dict[str, Any], str, BoxFormat], PageLabel]
    """Document and page id to label; the format is the flag `--box-format`."""
    fill: Callable[[dict[str, Any], PageLabel, Mapping[int, str]], dict[str, Any]] | None = None
    """Document, label and texts by box index to the document with these texts; None: labels are written as
    71716."""


SCHEMAS = {
    "71716": LabelSchema(key="OCR_info", read=aihub_71716.read_page, fill=aihub_71716.fill_texts),
    "71859": LabelSchema(key="learning_data_info", read=aihub_71859.read_page),
}
"""By `PageLabel.schema`."""

_OUT_OF_SCOPE = {"answer_info": "answer", "explanation_info": "handwriting"}
"""Keys of label files that come with 71716 but do not describe a problem, and what they describe."""


def read_label(content: bytes, page_id: str, *, box_format: BoxFormat = "xyxy") -> PageLabel:
    """Return the content of the label file of page `page_id`; `box_format` is used for 71716 only.

    Raises:
        LabelError: `bad_json` or `unknown_schema`, with the field that is wrong and its value.
        OutOfScopeError: a model answer or a handwritten solution.
    """
    document = expect_object(parse_json(content), "the label")
    matching = [schema for schema in SCHEMAS.values() if schema.key in document]
    if len(matching) == 1:
        label = matching[0].read(document, page_id, box_format)
        return replace(label, image_size=find_image_size(document))
    for key, kind in _OUT_OF_SCOPE.items():
        if key in document and not matching:
            raise OutOfScopeError(kind, f"holds {key}")
    wanted = " or ".join(schema.key for schema in SCHEMAS.values())
    got = " and ".join(schema.key for schema in matching) or f"{len(document)} other keys"
    raise LabelError("unknown_schema", f"the label must hold {wanted}, got {got}")
