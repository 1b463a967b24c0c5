"""What is wrong with one part of a dataset: its file, its footer, every row, its rejects."""

import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ocr_ray.audit.findings import Finding, Notes
from ocr_ray.dataset.images import SQUARE_SIZE_PX
from ocr_ray.dataset.lines import (
    FIRST_SPLICED_NUMBER,
    PartSpec,
    PartStats,
    Reject,
    RowSummary,
    TextLine,
    is_lines_schema,
    table_to_lines,
)
from ocr_ray.dataset.parts import DAMAGE
from ocr_ray.errors import LabelError
from ocr_ray.storage.error_messages import raise_if_refused
from ocr_ray.storage.location import Location, open_file, read_bytes
from ocr_ray.text.canonical import canonical
from ocr_ray.text.markup import to_text
from ocr_ray.textgen.holdout import find_misplaced

ROWS_PER_DECODED_IMAGE = 16
"""Every so many rows an image is decoded; that of any row with other bytes is found by its digest."""
_NUMBER = re.compile("([0-9]{9})")
_SPLICED_NUMBER = re.compile("spliced#([0-9]{10})")
_BOX = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_BAD_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_NEVER_NULL = ("line_id", "image", "text", "markup", "source", "width_px", "height_px")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartClaim:
    """What plan and manifest say of a part."""

    spec: PartSpec
    rows: int
    size_bytes: int
    rows_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the lines of a dataset must be, after the configuration in its plan."""

    config_sha256: str
    is_rendered: bool
    """Rendered lines have numbers, fonts and a markup that prints as the text; lines of pages have pages."""
    fonts: frozenset[str]
    """Of train and validation."""
    test_fonts: frozenset[str]
    holdout_word_share: float
    is_square: bool
    """Whether images were resized to the square."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], config_sha256: str) -> "Rules":
        fonts = frozenset(config.get("fonts", ()))
        return cls(
            config_sha256=config_sha256,
            is_rendered=config["job"] == "render_lines",
            fonts=fonts,
            test_fonts=frozenset(config.get("holdout_fonts", ())) or fonts,
            holdout_word_share=config.get("text", {}).get("holdout_word_share", 0.0),
            is_square=config["image"]["size"] == "384",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """What was found in a part, and what its rows add up to."""

    findings: tuple[Finding, ...]
    stats: PartStats
    """Counted again from rows and rejects."""
    footer_agrees: bool
    """Whether footer and rejects say the same, so that a run with `--verify rows` would keep the part."""
    page_ids: frozenset[str] = frozenset()
    num_rerendered: int = 0


def inspect_part(place: Location, claim: PartClaim, rules: Rules) -> PartReport:
    """Return what is wrong with a part; its rows are read one row group after the other."""
    spec, notes, rejects_notes = claim.spec, Notes(claim.spec.path), Notes(claim.spec.rejects_path)
    rows = _Rows(spec, rules, notes)
    footer: PartStats | None = None
    try:
        with open_file(place / spec.path) as file:
            if file.size() != claim.size_bytes:
                found = f"{file.size()} bytes, the manifest says {claim.size_bytes}"
                notes.add("wrong_bytes", detail=found)
            if opened := _open_part(file, spec, rules, notes):
                part, footer = opened
                _add_rejects(place / spec.rejects_path, footer, rows, rejects_notes)
                for group in range(part.num_row_groups):
                    for line in _read_group(part, group, notes):
                        rows.add(line)
    except FileNotFoundError:
        notes.add("missing_part", rows.numbers)
    stats = rows.summary.to_stats(footer.spec if footer else spec)
    if footer:
        _check_totals(stats, claim, notes)
        rows.check_numbers()
    rejects_findings = rejects_notes.to_findings()
    return PartReport(
        findings=notes.to_findings() + rejects_findings,
        stats=stats,
        footer_agrees=footer is not None and stats == replace(footer, counted={}) and not rejects_findings,
        page_ids=frozenset(rows.page_ids),
    )


def _open_part(
    file: pa.NativeFile, spec: PartSpec, rules: Rules, notes: Notes
) -> tuple[pq.ParquetFile, PartStats] | None:
    """Return a part and its footer, or None with a note where the file is another or cannot be read."""
    numbers = _numbers_of(spec, rules)
    try:
        part = pq.ParquetFile(file)
        values = part.metadata.metadata or {}
        if values.get(b"config_sha256") != rules.config_sha256.encode():
            notes.add("foreign_part", numbers, detail="it was made with another configuration")
            return None
        footer = PartStats.from_json(values[b"part_stats"].decode())
    except DAMAGE as error:
        raise_if_refused(error)
        notes.add("unreadable", numbers, detail=str(error))
        return None
    if footer.spec != spec:
        its = footer.spec
        notes.add("foreign_part", numbers, detail=f"it is {its.path}, items {its.start} to {its.stop - 1}")
    elif not is_lines_schema(part.schema_arrow):
        notes.add("foreign_part", numbers, detail=f"its columns are {', '.join(part.schema_arrow.names)}")
    else:
        return part, footer
    return None


def _read_group(part: pq.ParquetFile, group: int, notes: Notes) -> list[TextLine]:
    """Return the rows of a group; with a note, none where they cannot be read."""
    try:
        table = part.read_row_group(group)
        if nulls := [name for name in _NEVER_NULL if table[name].null_count]:
            raise ValueError(f"{nulls[0]} must not be null")
        return table_to_lines(table)
    except DAMAGE as error:
        raise_if_refused(error)
        notes.add("unreadable", detail=f"row group {group}: {error}")
        return []


def _add_rejects(location: Location, footer: PartStats, rows: "_Rows", notes: Notes) -> None:
    """Add the rejects of a part to what was seen of it."""
    try:
        table = pq.read_table(pa.BufferReader(read_bytes(location)))
        rejects = [Reject(**values) for values in table.to_pylist()]
    except FileNotFoundError:
        notes.add("missing_rejects")
        return
    except DAMAGE as error:
        notes.add("unreadable", detail=str(error))
        return
    reasons = Counter(reject.reason for reject in rejects)
    if reasons != footer.rejects:
        notes.add("wrong_rejects", detail=f"{dict(reasons)}, the part's footer says {footer.rejects}")
    for reject in rejects:
        rows.add_reject(reject)


def _check_totals(stats: PartStats, claim: PartClaim, notes: Notes) -> None:
    if stats.rows != claim.rows:
        notes.add("wrong_rows", detail=f"{stats.rows} rows, the manifest says {claim.rows}")
    if stats.rows_sha256 != claim.rows_sha256:
        detail = f"rows_sha256 is {stats.rows_sha256[:12]}, the manifest says {claim.rows_sha256[:12]}"
        notes.add("wrong_digest", detail=detail)


def _numbers_of(spec: PartSpec, rules: Rules) -> range:
    """Return the numbers of the lines that a part must account for; none for those of pages."""
    has_numbers = rules.is_rendered or spec.start >= FIRST_SPLICED_NUMBER
    return range(spec.start, spec.stop) if has_numbers else range(0)


class _Rows:
    """What one pass over the rows of a part has seen."""

    def __init__(self, spec: PartSpec, rules: Rules, notes: Notes) -> None:
        self.summary = RowSummary()
        self.numbers = _numbers_of(spec, rules)
        self.page_ids: set[str] = set()
        self._rules, self._notes = rules, notes
        self._is_test = spec.split == "test"
        self._id_of_number = _NUMBER if rules.is_rendered else _SPLICED_NUMBER
        self._num_rows = 0
        self._seen: set[int | str] = set()
        """Numbers of lines and rejects; for crops the ids of lines."""

    def add_reject(self, reject: Reject) -> None:
        self.summary.add(reject)
        if self.numbers:
            self._see_number(-1 if reject.number is None else reject.number)

    def add(self, line: TextLine) -> None:
        """Check a line, the next of its part."""
        row = self._num_rows
        self._num_rows += 1
        self.summary.add(line)
        if not self.numbers:
            self._check_crop(line, row)
            number = row
        elif match := self._id_of_number.fullmatch(line.line_id):
            number = int(match[1])
            self._see_number(number)
            if self._rules.is_rendered:
                self._check_rendered(line, number)
        else:
            self._notes.add("wrong_line_id", detail=f"{line.line_id!r} in row {row} has no number")
            return
        if canonical(line.text) != line.text:
            self._notes.add("wrong_text", [number], detail=f"{line.text!r} is not canonical")
        if row % ROWS_PER_DECODED_IMAGE == 0 and (fault := self._find_image_fault(line)):
            self._notes.add("wrong_image", [number], detail=fault)

    def check_numbers(self) -> None:
        """Note the numbers that are no line and no reject, once all rows are seen."""
        if missing := [number for number in self.numbers if number not in self._seen]:
            self._notes.add("gap", missing, detail=f"{len(missing)} are neither line nor reject")

    def _see_number(self, number: int) -> None:
        if number not in self.numbers:
            self._notes.add("foreign_line", [number], detail="it belongs to no line of this part")
        elif number in self._seen:
            self._notes.add("duplicate", [number], detail="it is there more than once")
        self._seen.add(number)

    def _check_rendered(self, line: TextLine, number: int) -> None:
        if fault := _find_markup_fault(line):
            self._notes.add("wrong_text", [number], detail=fault)
        fonts = self._rules.test_fonts if self._is_test else self._rules.fonts
        if line.font not in fonts:
            self._notes.add("held_out_font", [number], detail=f"{line.font}, not {', '.join(sorted(fonts))}")
        if share := self._rules.holdout_word_share:
            misplaced = find_misplaced(line.text, held_out=self._is_test, share=share)
            if misplaced:
                self._notes.add("misplaced_token", [number], detail=f"{misplaced[0]} in {line.text!r}")

    def _check_crop(self, line: TextLine, row: int) -> None:
        page_id, _, box = line.line_id.rpartition("#")
        if page_id != line.page_id or not _BOX.fullmatch(box):
            self._notes.add("wrong_line_id", [row], detail=f"{line.line_id!r} on page {line.page_id!r}")
        if line.line_id in self._seen:
            self._notes.add("duplicate", [row], detail=f"{line.line_id!r} is there more than once")
        self._seen.add(line.line_id)
        self.page_ids.add(page_id)

    def _find_image_fault(self, line: TextLine) -> str:
        square = (SQUARE_SIZE_PX, SQUARE_SIZE_PX)
        expected = square if self._rules.is_square else (line.width_px, line.height_px)
        try:
            with Image.open(io.BytesIO(line.image_bytes)) as image:
                image.load()
        except _BAD_IMAGE as error:
            return str(error)
        return "" if image.size == expected else f"{image.size} px, not {expected}"


def _find_markup_fault(line: TextLine) -> str:
    try:
        printed = to_text(line.markup)
    except LabelError as error:
        return f"{line.markup!r}: {error}"
    return "" if printed == line.text else f"{line.markup!r} prints {printed!r}, not {line.text!r}"
