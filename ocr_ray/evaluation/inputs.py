"""What an evaluation reads: parts of datasets, the column a model was trained on, what is known of lines."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.dataset.lines import LabelColumn, WordOrigin
from ocr_ray.dataset.plan import MANIFEST, Plan
from ocr_ray.dataset.texts import iter_texts
from ocr_ray.errors import InputError
from ocr_ray.evaluation.analysis.context_dependence import SPLICED
from ocr_ray.evaluation.analysis.seen_words import SeenWords
from ocr_ray.evaluation.analysis.slices import Knowledge
from ocr_ray.evaluation.analysis.whole_problems import read_problems
from ocr_ray.storage.location import Location, exists, list_files, locate, open_file, read_bytes, read_json

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinesPart:
    """A part file whose lines are to be read."""

    dataset: str
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationInputs:
    """All that an evaluation reads, and where it writes; resolved before any work."""

    model: Location | str
    """A folder, or a hub id."""
    label_column: LabelColumn
    """The column that the model was trained on, which holds the truth."""
    datasets: dict[str, Location]
    parts: tuple[LinesPart, ...]
    """In the order of their predictions' names."""
    out: Location
    learnt: dict[str, Location]
    """The datasets that the model has learnt from, those that are known and still there as they were."""
    plan: Plan

    @property
    def reads(self) -> list[Location]:
        """The folders that every node must see to read from."""
        models = [] if isinstance(self.model, str) else [self.model]
        return [*models, *self.datasets.values()]


def find_parts(dataset: str, place: Location, split: str) -> list[LinesPart]:
    """Return the part files of a dataset's split, in order.

    Raises:
        InputError: there are none.
    """
    names = [name for name in list_files(place / split, recursive=False) if name.endswith(".parquet")]
    if not names:
        raise InputError(
            f"--lines-uri must hold a split {split!r}, found no .parquet files in {place / split}"
        )
    return [LinesPart(dataset=dataset, location=place / split / name) for name in names]


def find_learnt(metrics: Mapping[str, Any]) -> dict[str, Location]:
    """Return the datasets that a model has learnt from by its metrics; none unless all are as they were."""
    found = {}
    for name, facts in (metrics.get("datasets") or {}).items():
        place = locate(facts["uri"])
        manifest = place / MANIFEST
        is_there = exists(manifest)
        if not is_there or hashlib.sha256(read_bytes(manifest)).hexdigest() != facts["manifest_sha256"]:
            log.warning(
                "%s, which the model has learnt from, is %s: seen and unseen words and fonts are not told "
                "apart; --trained-on says where its datasets are",
                place,
                "another one now" if is_there else "not there",
            )
            return {}
        found[name] = place
    return found


def gather_knowledge(inputs: EvaluationInputs, split: str) -> Knowledge:
    """Return what is known of lines besides their predictions: words and fonts learnt, whole problems."""
    problems = {
        name: read_problems(place, split, inputs.label_column) for name, place in inputs.datasets.items()
    }
    if not inputs.learnt:
        return Knowledge(problems=problems)
    manifests = [read_json(place / MANIFEST) for place in inputs.learnt.values()]
    return Knowledge(
        words=SeenWords(
            text for place in inputs.learnt.values() for text in iter_texts(place, inputs.label_column)
        ),
        fonts=frozenset(font for manifest in manifests for font in manifest["counts"].get("by_font", {})),
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
