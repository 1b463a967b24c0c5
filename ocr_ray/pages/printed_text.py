"""Text and markup of a line as a model or a person gives them."""

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.errors import LabelError
from ocr_ray.pages.crop import print_line
from ocr_ray.pages.labels.page_label import is_empty
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import nfc
from ocr_ray.text.markup import UNSUPPORTED, to_markup


def interpret(reading: str, label_column: LabelColumn) -> tuple[str, str]:
    """Return text and markup of a reading.

    Raises:
        LabelError: `empty_text`: nothing was read; `unsupported_markup`: the reading cannot be printed.
    """
    if label_column == "markup":
        markup = nfc(reading).strip()
        return print_line(markup), markup
    text = " ".join(canonical(reading).split())
    if is_empty(text):
        raise LabelError("empty_text", f"the reading is {text!r}")
    return text, write_markup(text)


def write_markup(text: str) -> str:
    """Return the markup of a printed text, with a backslash before each printed dollar.

    Raises:
        LabelError: `unsupported_markup`: a backslash has no markup.
    """
    if "\\" in text:
        raise LabelError(UNSUPPORTED, "\\")
    return r"\$".join(map(to_markup, text.split("$")))
