"""What an evaluation reads: part files, the model's training datasets, problem texts and word origins."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.dataset.lines import LabelColumn, WordOrigin
from ocr_ray.dataset.open_lines import list_split
from ocr_ray.dataset.plan import MANIFEST, Plan
from ocr_ray.dataset.texts import iter_texts
from ocr_ray.evaluation.analysis.context_dependence import SPLICED
from ocr_ray.evaluation.analysis.seen_words import SeenWords
from ocr_ray.evaluation.analysis.slices import SliceInputs
from ocr_ray.evaluation.analysis.whole_problems import read_problems
from ocr_ray.storage.location import Location, exists, locate, open_file, read_bytes, read_json

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesPart:
    """A part file of lines to read."""

    dataset: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationInputs:
    """Everything that an evaluation reads, and where it writes; resolved before any work."""

    model: Location | str
    """A folder, or a hub id."""
    label_column: LabelColumn
    """The column that the model was trained on; it holds the reference."""
    datasets: dict[str, Location]
    parts: tuple[LinesPart, ...]
    """In the order of the predictions' part numbers."""
    out: Location
    training_datasets: dict[str, Location]
    """Training datasets of the model; empty if one is unknown, missing or has changed."""
    plan: Plan

    @property
    def reads(self) -> list[Location]:
        """The folders that every node must be able to read."""
        models = [] if isinstance(self.model, str) else [self.model]
        return [*models, *self.datasets.values()]


def find_parts(dataset: str, folder: Location, split: str) -> list[LinesPart]:
    """Return the part files of a dataset's split, in order.

    Raises:
        InputError: there are none.
    """
    return [LinesPart(dataset=dataset, location=part) for part in list_split(folder, split, "--lines-uri")]


def find_training_datasets(metrics: Mapping[str, Any]) -> dict[str, Location]:
    """Return the training datasets that a model's metrics.json names; none unless all are unchanged."""
    datasets = {}
    for name, facts in (metrics.get("datasets") or {}).items():
        folder = locate(facts["uri"])
        manifest = folder / MANIFEST
        is_present = exists(manifest)
        if not is_present or hashlib.sha256(read_bytes(manifest)).hexdigest() != facts["manifest_sha256"]:
            log.warning(
                "the model was trained on %s, which %s: the report cannot separate seen from unseen words "
                "and fonts; pass the training datasets with --trained-on",
                folder,
                "has changed since" if is_present else "does not exist any more",
            )
            return {}
        datasets[name] = folder
    return datasets


def read_slice_inputs(inputs: EvaluationInputs, split: str) -> SliceInputs:
    """Return the words and fonts of the training data and the problem texts, which slices need."""
    problems = {
        name: read_problems(folder, split, inputs.label_column) for name, folder in inputs.datasets.items()
    }
    if not inputs.training_datasets:
        return SliceInputs(problems=problems)
    folders = inputs.training_datasets.values()
    manifests = [read_json(folder / MANIFEST) for folder in folders]
    return SliceInputs(
        training_words=SeenWords(
            text for folder in folders for text in iter_texts(folder, inputs.label_column)
        ),
        training_fonts=frozenset(
            font for manifest in manifests for font in manifest["counts"].get("by_font", {})
        ),
        problems=problems,
    )


def read_word_origins(parts: Sequence[LinesPart]) -> dict[tuple[str, str], list[WordOrigin]]:
    """Return the origins of the words of all spliced lines, by dataset and line_id.

    Datasets of earlier versions do not have them; a warning names these.
    """
    origins: dict[tuple[str, str], list[WordOrigin]] = {}
    without = set()
    for part in parts:
        with open_file(part.location) as file:
            table = pq.ParquetFile(file).read(columns=["line_id", "source", "spliced_from"])
        spliced = table.filter(pc.equal(table["source"], SPLICED))
        if "spliced_from" not in table.column_names:
            without |= {part.dataset} if spliced.num_rows else set()
            continue
        for row in spliced.to_pylist():
            words = row["spliced_from"] or []
            origins[part.dataset, row["line_id"]] = [WordOrigin(**word) for word in words]
    for dataset in sorted(without):
        log.warning(
            "%s has spliced lines without the column spliced_from, an earlier version wrote it: the report "
            "cannot compare their words with the same words in sentences; make it again with crop_pages",
            dataset,
        )
    return origins
