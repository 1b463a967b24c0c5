"""Inspection of one part of a dataset: its file, its footer, every row and its rejects."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.audit.findings import FileFindings, Finding
from ocr_ray.dataset.images import SQUARE_SIZE_PX, open_line_image
from ocr_ray.dataset.lines import (
    FIRST_SPLICED_NUMBER,
    REJECT_SCHEMA,
    PartSpec,
    PartStats,
    Reject,
    RowSummary,
    TextLine,
    is_lines_schema,
    table_to_lines,
)
from ocr_ray.dataset.stored_rows import DAMAGE, LINES, REJECTS, check_columns, check_rows
from ocr_ray.errors import InputError, LabelError
from ocr_ray.storage.error_messages import raise_if_refused
from ocr_ray.storage.location import Location, open_file, read_bytes
from ocr_ray.text.canonical import canonical
from ocr_ray.text.markup import to_text
from ocr_ray.textgen.holdout import find_misplaced

ROWS_PER_DECODED_IMAGE = 16
"""One image in so many rows is decoded; changed bytes of any image change the digest."""
_NUMBER = re.compile("([0-9]{9})")
_SPLICED_NUMBER = re.compile("spliced#([0-9]{10})")
_BOX = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPart:
    """A part as plan and manifest describe it."""

    spec: PartSpec
    rows: int
    size_bytes: int
    rows_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules for the lines of a dataset, from the configuration in its plan."""

    config_sha256: str
    is_rendered: bool
    """Rendered lines have numbers, fonts and a markup that prints as the text; crops have pages."""
    fonts: frozenset[str]
    """The fonts of train and validation."""
    test_fonts: frozenset[str]
    holdout_word_share: float
    is_square: bool
    """Whether images are resized to a square."""

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
    """The findings in a part, and the counts of its rows."""

    findings: tuple[Finding, ...]
    stats: PartStats
    """Counted from rows and rejects."""
    footer_agrees: bool
    """Whether footer, rows and rejects agree, so that a run with `--verify rows` would keep the part."""
    page_ids: frozenset[str] = frozenset()
    num_rerendered: int = 0


def inspect_part(dataset: Location, expected: ExpectedPart, rules: Rules) -> PartReport:
    """Return the findings in a part; one row group is held at a time."""
    spec = expected.spec
    findings, rejects_findings = FileFindings(spec.path), FileFindings(spec.rejects_path)
    rows = _RowChecks(spec, rules, findings)
    footer: PartStats | None = None
    try:
        with open_file(dataset / spec.path) as file:
            if file.size() != expected.size_bytes:
                detail = f"{file.size()} bytes, {expected.size_bytes} in the manifest"
                findings.add("wrong_bytes", detail=detail)
            if opened := _open_part(file, spec, rules, findings):
                part, footer = opened
                _add_rejects(dataset / spec.rejects_path, footer, rows, rejects_findings)
                for group in range(part.num_row_groups):
                    for line in _read_group(part, group, findings):
                        rows.add(line)
    except FileNotFoundError:
        findings.add("missing_part", rows.numbers)
    stats = rows.summary.to_stats(footer.spec if footer else spec)
    if footer:
        _check_totals(stats, expected, findings)
        rows.check_numbers()
    return PartReport(
        findings=findings.to_tuple() + rejects_findings.to_tuple(),
        stats=stats,
        footer_agrees=footer is not None
        and stats == replace(footer, counted={})
        and not rejects_findings.to_tuple(),
        page_ids=frozenset(rows.page_ids),
    )


def _open_part(
    file: pa.NativeFile, spec: PartSpec, rules: Rules, findings: FileFindings
) -> tuple[pq.ParquetFile, PartStats] | None:
    """Return a part and its footer; None, with a finding, if it cannot be read or is not this part."""
    numbers = _list_numbers(spec, rules)
    try:
        part = pq.ParquetFile(file)
        values = part.metadata.metadata or {}
        if values.get(b"config_sha256") != rules.config_sha256.encode():
            findings.add("foreign_part", numbers, detail="it was made with another configuration")
            return None
        footer = PartStats.from_json(values[b"part_stats"].decode())
    except DAMAGE as error:
        raise_if_refused(error)
        findings.add("unreadable", numbers, detail=str(error))
        return None
    if footer.spec != spec:
        other = footer.spec
        detail = f"it is {other.path}, items {other.start} to {other.stop - 1}"
        findings.add("foreign_part", numbers, detail=detail)
    elif not is_lines_schema(part.schema_arrow):
        findings.add("foreign_part", numbers, detail=f"its columns are {', '.join(part.schema_arrow.names)}")
    else:
        return part, footer
    return None


def _read_group(part: pq.ParquetFile, group: int, findings: FileFindings) -> list[TextLine]:
    """Return the rows of a group; none, with a finding, if they cannot be read."""
    try:
        table = part.read_row_group(group)
        check_rows(table, f"row group {group}", LINES)
        return table_to_lines(table)
    except DAMAGE as error:
        raise_if_refused(error)
        findings.add("unreadable", detail=f"row group {group}: {error}")
        return []


def _add_rejects(location: Location, footer: PartStats, rows: "_RowChecks", findings: FileFindings) -> None:
    """Check the rejects of a part against its footer and add them to its rows."""
    try:
        table = pq.read_table(pa.BufferReader(read_bytes(location)))
        check_columns(table.schema, "the file", REJECTS)
        check_rows(table, "the file", REJECTS)
        rejects = [Reject(**values) for values in table.select(REJECT_SCHEMA.names).to_pylist()]
    except FileNotFoundError:
        findings.add("missing_rejects")
        return
    except DAMAGE as error:
        findings.add("unreadable", detail=str(error))
        return
    reasons = Counter(reject.reason for reject in rejects)
    if reasons != footer.rejects:
        findings.add("wrong_rejects", detail=f"{dict(reasons)}, {footer.rejects} in the footer of the part")
    for reject in rejects:
        rows.add_reject(reject)


def _check_totals(stats: PartStats, expected: ExpectedPart, findings: FileFindings) -> None:
    if stats.rows != expected.rows:
        findings.add("wrong_rows", detail=f"{stats.rows} rows, {expected.rows} in the manifest")
    if stats.rows_sha256 != expected.rows_sha256:
        detail = f"rows_sha256 is {stats.rows_sha256[:12]}, {expected.rows_sha256[:12]} in the manifest"
        findings.add("wrong_digest", detail=detail)


def _list_numbers(spec: PartSpec, rules: Rules) -> range:
    """Return the numbers that a part must account for as line or reject; none for crops."""
    has_numbers = rules.is_rendered or spec.start >= FIRST_SPLICED_NUMBER
    return range(spec.start, spec.stop) if has_numbers else range(0)


class _RowChecks:
    """Checks the rows of a part in one pass."""

    def __init__(self, spec: PartSpec, rules: Rules, findings: FileFindings) -> None:
        self.summary = RowSummary()
        self.numbers = _list_numbers(spec, rules)
        self.page_ids: set[str] = set()
        self._rules, self._findings = rules, findings
        self._is_test = spec.split == "test"
        self._number_pattern = _NUMBER if rules.is_rendered else _SPLICED_NUMBER
        self._num_rows = 0
        self._seen: set[int | str] = set()
        """Numbers of lines and rejects; for crops, ids of lines."""

    def add_reject(self, reject: Reject) -> None:
        self.summary.add(reject)
        if self.numbers:
            self._add_number(-1 if reject.number is None else reject.number)

    def add(self, line: TextLine) -> None:
        """Check the next line of the part."""
        row = self._num_rows
        self._num_rows += 1
        self.summary.add(line)
        if not self.numbers:
            self._check_crop(line, row)
            number = row
        elif match := self._number_pattern.fullmatch(line.line_id):
            number = int(match[1])
            self._add_number(number)
            if self._rules.is_rendered:
                self._check_rendered(line, number)
        else:
            self._findings.add("wrong_line_id", detail=f"{line.line_id!r} in row {row} has no number")
            return
        if canonical(line.text) != line.text:
            self._findings.add("wrong_text", [number], detail=f"{line.text!r} is not canonical")
        if row % ROWS_PER_DECODED_IMAGE == 0 and (fault := self._find_image_fault(line)):
            self._findings.add("wrong_image", [number], detail=fault)

    def check_numbers(self) -> None:
        """Report the numbers that are neither line nor reject, after all rows."""
        if missing := [number for number in self.numbers if number not in self._seen]:
            self._findings.add("gap", missing, detail=f"{len(missing)} are neither line nor reject")

    def _add_number(self, number: int) -> None:
        if number not in self.numbers:
            self._findings.add("foreign_line", [number], detail="not a number of this part")
        elif number in self._seen:
            self._findings.add("duplicate", [number], detail="more than once in this part")
        self._seen.add(number)

    def _check_rendered(self, line: TextLine, number: int) -> None:
        if fault := _find_markup_fault(line):
            self._findings.add("wrong_text", [number], detail=fault)
        fonts = self._rules.test_fonts if self._is_test else self._rules.fonts
        if line.font not in fonts:
            self._findings.add(
                "held_out_font", [number], detail=f"{line.font}, not {', '.join(sorted(fonts))}"
            )
        if share := self._rules.holdout_word_share:
            misplaced = find_misplaced(line.text, held_out=self._is_test, share=share)
            if misplaced:
                self._findings.add("misplaced_token", [number], detail=f"{misplaced[0]} in {line.text!r}")

    def _check_crop(self, line: TextLine, row: int) -> None:
        page_id, _, box = line.line_id.rpartition("#")
        if page_id != line.page_id or not _BOX.fullmatch(box):
            self._findings.add("wrong_line_id", [row], detail=f"{line.line_id!r} on page {line.page_id!r}")
        if line.line_id in self._seen:
            self._findings.add("duplicate", [row], detail=f"{line.line_id!r} is more than once in this part")
        self._seen.add(line.line_id)
        self.page_ids.add(page_id)

    def _find_image_fault(self, line: TextLine) -> str:
        square = (SQUARE_SIZE_PX, SQUARE_SIZE_PX)
        expected = square if self._rules.is_square else (line.width_px, line.height_px)
        try:
            image = open_line_image(line.image_bytes, f"line {line.line_id}")
        except InputError as error:
            return str(error)
        return "" if image.size == expected else f"{image.size} px, not {expected}"


def _find_markup_fault(line: TextLine) -> str:
    try:
        printed = to_text(line.markup)
    except LabelError as error:
        return f"{line.markup!r}: {error}"
    return "" if printed == line.text else f"{line.markup!r} prints {printed!r}, not {line.text!r}"
