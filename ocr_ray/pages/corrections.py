"""Corrections of a labelled dataset by a person: the files that hold them, and what they change.

`corrections.json`, as review.html gives it:

    {"dataset": str, "label_column": "text", "lines": {"P3_1#0": {"status": "corrected", "text": str}, …}}

`dataset` is the `config_sha256` of the dataset, `status` is `accepted` or `corrected`. The text is what a
model of that label column gives: the printed text, or markup. An export of Label Studio is read too.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ocr_ray.dataset.lines import LabelColumn, TextLine
from ocr_ray.errors import InputError, LabelError, ProductionError
from ocr_ray.pages.label_studio import read_export
from ocr_ray.pages.labels.page_label import BoxFormat
from ocr_ray.pages.labels.read import read_label
from ocr_ray.pages.labels.write import write_label
from ocr_ray.pages.printed_text import interpret
from ocr_ray.storage.json_fields import expect
from ocr_ray.storage.strict_json import parse_json, to_json

ACCEPTED, CORRECTED, NOT_REVIEWED = "accepted", "corrected", "not_reviewed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """The lines that a person has read."""

    dataset: str
    """The `config_sha256` of the dataset whose lines they are."""
    texts: Mapping[str, str | None]
    """By line id: the right text; None if the reading is right."""

    @property
    def sha256(self) -> str:
        values = {"dataset": self.dataset, "texts": dict(self.texts)}
        return hashlib.sha256(to_json(values, sort_keys=True).encode()).hexdigest()


def parse_corrections(content: bytes, name: str) -> Corrections:
    """Return the content of corrections.json or of a JSON export of Label Studio.

    Raises:
        InputError: it is neither; the message has `name`.
    """
    try:
        document = parse_json(content)
        if isinstance(document, list):
            return Corrections(**read_export(document)._asdict())
        lines = expect(expect(document, dict, "the file")["lines"], dict, "lines")
        texts: dict[str, str | None] = {}
        for line_id, entry in lines.items():
            status = expect(entry, dict, f"lines.{line_id}")["status"]
            if status not in (ACCEPTED, CORRECTED):
                raise ValueError(f"status must be {ACCEPTED} or {CORRECTED}, got {status!r}")
            is_corrected = status == CORRECTED
            texts[line_id] = expect(entry["text"], str, f"lines.{line_id}.text") if is_corrected else None
        return Corrections(dataset=expect(document["dataset"], str, "dataset"), texts=texts)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"--apply must be the corrections.json of review.html or a JSON export of Label Studio, {name} "
            f"is not: {error!r}"
        ) from error


def check_corrections(corrections: Corrections, line_ids: Iterable[str], column: LabelColumn) -> None:
    """Check that every corrected line exists and that its text can be printed.

    Raises:
        InputError: one does not; the message names it.
    """
    if unknown := sorted(corrections.texts.keys() - set(line_ids)):
        raise InputError(
            f"--apply must hold lines of the dataset, {len(unknown)} are none, such as {unknown[0]}"
        )
    for line_id, text in corrections.texts.items():
        try:
            interpret(text, column) if text is not None else None
        except LabelError as error:
            raise InputError(f"the text of {line_id} must be printable, got {text!r}: {error}") from error


def review_status(line: TextLine, corrections: Corrections) -> str:
    """Return whether a line was accepted, corrected or not reviewed."""
    if line.line_id not in corrections.texts:
        return NOT_REVIEWED
    return ACCEPTED if corrections.texts[line.line_id] is None else CORRECTED


def correct_line(line: TextLine, corrections: Corrections, column: LabelColumn) -> TextLine:
    """Return a line as a person has read it.

    A reviewed line has no flags, because there is no more reason to review it. A corrected one has no
    confidence, because no model has read its text. Other lines stay as they are.
    """
    if line.line_id not in corrections.texts:
        return line
    text = corrections.texts[line.line_id]
    if text is None:
        return replace(line, flags=())
    printed, markup = interpret(text, column)
    return replace(line, text=printed, markup=markup, confidence=None, flags=())


def correct_label(
    content: bytes,
    lines: Sequence[tuple[TextLine, TextLine]],
    *,
    rejected: Iterable[int] = (),
    box_format: BoxFormat = "xyxy",
) -> bytes:
    """Return the label file of a page with the markup of its lines as they are now.

    `lines` are all lines of the page in reading order, as they were and as they are. `rejected` are the boxes
    with rows that gave no line; what the file holds of these rows stays.

    Raises:
        ProductionError: the file is not the one that was written with these lines.
    """
    label = read_label(content, "", box_format=box_format)
    rows = {box.index: box.markup.split("\n") for box in label.boxes}
    numbers = sorted({*(_box_of(line) for line, _ in lines), *rejected})
    next_row = dict.fromkeys(rows, 0)
    changed: set[int] = set()
    try:
        index_of = dict(zip(numbers, rows, strict=True))  # a label of 71859 is written with other numbers
        for line, now in lines:
            index = index_of[_box_of(line)]
            row = rows[index].index(line.markup, next_row[index])
            next_row[index] = row + 1
            if now.markup != line.markup:
                rows[index][row] = now.markup
                changed.add(index)
    except ValueError as error:
        name = lines[0][0].page_id
        raise ProductionError(f"the label of {name} must hold the texts of its lines: {error}") from error
    markups = {index: "\n".join(rows[index]) for index in changed}
    return write_label(content, label, markups=markups, image_name="") if changed else content


def _box_of(line: TextLine) -> int:
    return int(line.line_id.rpartition("#")[2].partition(".")[0])
