"""label_pages --apply: a labelled dataset with the corrections of a person, as a new dataset."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.produce import produce
from ocr_ray.dataset.lines import LabelColumn, PartRow, PartSpec, Reject, TextLine, TopicCount, table_to_lines
from ocr_ray.dataset.parts import read_part_footer
from ocr_ray.dataset.plan import MANIFEST, PLAN, Plan, check_reserved, cut_parts
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.pages.config import LabelConfig, produce_options
from ocr_ray.pages.corrections import (
    Corrections,
    check_corrections,
    correct_label,
    correct_line,
    parse_corrections,
    review_status,
)
from ocr_ray.pages.label_part import label_name
from ocr_ray.pages.labels.page_label import BoxFormat
from ocr_ray.storage.location import (
    Location,
    exists,
    list_files,
    locate,
    open_file,
    read_bytes,
    read_json,
    require_file,
    require_folder,
    write_bytes,
)

log = logging.getLogger(__name__)

LABELS = "labels"
FLAGGED = "flagged"
"""Counted anew; all else that was counted stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyInputs:
    """Everything that the parts of a corrected dataset are made from."""

    labelled: Location
    config_sha256: str
    """Of the labelled dataset."""
    labels: Location
    """The folder of the label files to write."""
    corrections: Corrections
    label_column: LabelColumn
    box_format: BoxFormat

    def name_item(self, split: str, number: int) -> str:
        """Return the name of a page for messages."""
        return f"page {number} of {self.labelled}"


def apply_corrections(config: LabelConfig) -> dict[str, Any]:
    """Write a labelled dataset with its corrections to a new folder; return the summary.

    Raises:
        InputError: the dataset is not complete, or the corrections are not of this dataset.
    """
    file = require_file(config.apply, "--apply")
    corrections = parse_corrections(read_bytes(file), config.apply)
    labelled = require_folder(config.labelled_uri, "--labelled-uri")
    written = _read_plan(labelled)
    old = Plan(config=written["config"], parts=_list_parts(written["config"]))
    if corrections.dataset != old.config_sha256:
        raise InputError(f"--apply must hold corrections of {labelled}, {config.apply} is of another dataset")
    column: LabelColumn = old.config["label_column"]
    line_ids = (line_id for spec in old.parts for line_id in _read_line_ids(labelled / spec.path))
    check_corrections(corrections, line_ids, column)
    out = locate(config.out_uri)
    inputs = ApplyInputs(
        labelled=labelled,
        config_sha256=old.config_sha256,
        labels=out / LABELS,
        corrections=corrections,
        label_column=column,
        box_format=old.config["box_format"],
    )
    plan = Plan(
        config={
            **old.config,
            "corrected": {"dataset": old.config_sha256, "corrections_sha256": corrections.sha256},
        },
        parts=old.parts,
        flags=describe_flags(config, resolve=resolve_uri),
        extras=tuple(f"{LABELS}/{name}" for name in list_files(labelled / LABELS)),
    )
    check_reserved(out, plan.config)
    summary = produce(out, plan, (apply_part, inputs), produce_options(config), reads=[labelled])
    log.info("%s: %d lines, reviewed: %s", out, summary["lines"], summary["review"])
    return {**summary, "labels": (out / LABELS).uri}


def apply_part(inputs: ApplyInputs, spec: PartSpec) -> Iterator[PartRow]:
    """Yield the lines, rejects and counts of a part, and write the label files of its pages."""
    footer = read_part_footer(inputs.labelled, spec, inputs.config_sha256)
    if footer is None:
        raise ProductionError(f"{inputs.labelled / spec.path} must be a part of its dataset, it is not")
    with open_file(inputs.labelled / spec.path) as file:
        lines = table_to_lines(pq.read_table(file))
    with open_file(inputs.labelled / spec.rejects_path) as file:
        rejects = [Reject(**row) for row in pq.read_table(file).to_pylist()]
    pairs = [(line, correct_line(line, inputs.corrections, inputs.label_column)) for line in lines]
    _write_labels(inputs, pairs, rejects)
    yield from (now for _, now in pairs)
    yield from rejects
    for topic, counts in footer[0].counted.items():
        if topic != FLAGGED:
            for name, number in counts.items():
                yield TopicCount(topic=topic, name=name, number=number)
    for flag, number in Counter(flag for _, now in pairs for flag in now.flags or ()).items():
        yield TopicCount(topic=FLAGGED, name=flag, number=number)
    for status, number in Counter(review_status(line, inputs.corrections) for line in lines).items():
        yield TopicCount(topic="review", name=status, number=number)


def _write_labels(
    inputs: ApplyInputs, pairs: Iterable[tuple[TextLine, TextLine]], rejects: Iterable[Reject]
) -> None:
    lines: defaultdict[str, list[tuple[TextLine, TextLine]]] = defaultdict(list)
    rejected: defaultdict[str, set[int]] = defaultdict(set)
    for pair in pairs:
        lines[pair[0].page_id or ""].append(pair)
    for reject in rejects:
        if reject.box is not None and reject.page_id is not None:
            rejected[reject.page_id].add(int(reject.box.partition(".")[0]))
    for page_id in sorted(lines.keys() | rejected.keys()):
        content = read_bytes(inputs.labelled / LABELS / label_name(page_id))
        if page_id in lines:
            content = correct_label(
                content, lines[page_id], rejected=rejected[page_id], box_format=inputs.box_format
            )
        write_bytes(inputs.labels / label_name(page_id), content)


def _read_plan(labelled: Location) -> dict[str, Any]:
    for name in (PLAN, MANIFEST):
        if not exists(labelled / name):
            raise InputError(
                f"--labelled-uri must be a complete dataset of label_pages, {labelled} has no {name}"
            )
    written = read_json(labelled / PLAN)
    config = written.get("config") if isinstance(written, dict) else None
    if not isinstance(config, dict) or config.get("job") != "label_pages":
        raise InputError(f"--labelled-uri must be a dataset of label_pages, {labelled} is not")
    return {**written, "config": config}


def _list_parts(config: dict[str, Any]) -> tuple[PartSpec, ...]:
    return tuple(cut_parts("train", 0, config["pages"], config["pages_per_part"]))


def _read_line_ids(part: Location) -> list[str]:
    with open_file(part) as file:
        line_ids: list[str] = pq.read_table(file, columns=["line_id"])["line_id"].to_pylist()
    return line_ids
