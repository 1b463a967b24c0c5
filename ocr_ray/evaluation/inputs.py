"""What an evaluation reads: part files, the model's training datasets, problem texts and word origins."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ocr_ray.dataset.lines import SCHEMA, LabelColumn, WordOrigin
from ocr_ray.dataset.manifest import read_manifest
from ocr_ray.dataset.open_lines import list_split
from ocr_ray.dataset.plan import MANIFEST, Plan
from ocr_ray.dataset.stored_rows import NUM_FOOTER_THREADS, iter_groups
from ocr_ray.dataset.texts import iter_texts
from ocr_ray.errors import InputError, StorageError
from ocr_ray.evaluation.analysis.context_dependence import SPLICED
from ocr_ray.evaluation.analysis.holdout import find_topic
from ocr_ray.evaluation.analysis.seen_words import SeenWords
from ocr_ray.evaluation.analysis.slices import SliceInputs
from ocr_ray.evaluation.analysis.whole_problems import read_problems
from ocr_ray.model.options import Decoding
from ocr_ray.storage.json_fields import expect
from ocr_ray.storage.location import Location, locate, read_bytes, try_briefly
from ocr_ray.text.numbers import find_long_numbers, mask_numbers

log = logging.getLogger(__name__)

_TEXT_COLUMNS = tuple(name for name in SCHEMA.names if name != "image")
_ORIGIN_COLUMNS = ("line_id", "source", "spliced_from")
_NO_ROWS = pa.Table.from_batches([], SCHEMA).select(_ORIGIN_COLUMNS)  # `empty_table` would import pandas


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
    trained_on: bool
    """Whether the user named them; then they must be readable."""
    base_model: str = ""
    """The model that training started from, from metrics.json; empty if it does not say."""
    decoding: Decoding
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
    """Return the training datasets that a model's metrics.json names; none unless all are unchanged.

    They only add the words and fonts that the model has seen, so a dataset that does not answer within
    seconds is a warning.
    """
    datasets = {}
    try:
        for name, facts in expect(metrics.get("datasets") or {}, dict, "datasets").items():
            uri = expect(expect(facts, dict, name).get("uri"), str, f"{name}.uri")
            datasets[name] = locate(uri)
            if reason := _find_change(datasets[name], facts.get("manifest_sha256")):
                _warn_of_unknown_words(f"the model was trained on {uri}, which {reason}")
                return {}
    except ValueError as error:
        _warn_of_unknown_words(f"metrics.json of the model must name its training datasets: {error}")
        return {}
    return datasets


def _find_change(dataset: Location, manifest_sha256: Any) -> str:
    """Return what has become of a dataset since its manifest had a hash; empty if it is unchanged."""
    try:
        content = read_bytes(try_briefly(dataset) / MANIFEST)
    except FileNotFoundError:
        return "does not exist any more"
    except (StorageError, OSError) as error:
        return f"cannot be read ({error})"
    return "" if hashlib.sha256(content).hexdigest() == manifest_sha256 else "has changed since"


def _warn_of_unknown_words(reason: str) -> None:
    log.warning(
        "%s: the report cannot separate seen from unseen words and fonts; pass the training datasets with "
        "--trained-on",
        reason,
    )


def read_slice_inputs(inputs: EvaluationInputs, split: str) -> SliceInputs:
    """Return the words and fonts of the training data and the problem texts, which slices need.

    Raises:
        InputError: a dataset cannot be read; of the training datasets only those of --trained-on.
    """
    problems = {
        name: read_problems(folder, split, inputs.label_column) for name, folder in inputs.datasets.items()
    }
    known = SliceInputs(problems=problems, base_model=inputs.base_model)
    if not inputs.training_datasets:
        return known
    try:
        return _add_training(known, tuple(inputs.training_datasets.values()), inputs.label_column)
    except (InputError, StorageError, OSError) as error:
        if inputs.trained_on:
            raise
        _warn_of_unknown_words(f"the data that the model was trained on cannot be read ({error})")
        return known


def _add_training(known: SliceInputs, folders: Sequence[Location], column: LabelColumn) -> SliceInputs:
    """Return the inputs with what the train splits of datasets hold."""

    def iter_all_texts() -> Iterator[str]:
        return (text for folder in folders for text in iter_texts(folder, column))

    pages = [item for folder in folders for item in read_problems(folder, "train", column).items()]
    # A page without a text could be of any problem.
    has_texts = all(problem.reference is not None for _, problem in pages)
    return replace(
        known,
        training_words=SeenWords(iter_all_texts()),
        training_numbers=SeenWords(iter_all_texts(), find_words=find_long_numbers),
        training_fonts=frozenset(font for folder in folders for font in _list_training_fonts(folder)),
        training_problems=frozenset(mask_numbers(problem.reference or "") for _, problem in pages)
        if has_texts
        else None,
        training_topics=frozenset(filter(None, (find_topic(page_id) for page_id, _ in pages))),
        training_datasets=tuple(folder.uri for folder in folders),
    )


def _list_training_fonts(dataset: Location) -> set[str]:
    """Return the fonts of a dataset without those that only its test split has."""
    manifest = read_manifest(dataset)
    held_out = manifest.config.get("holdout_fonts")
    return {*manifest.counts["by_font"]} - {*(held_out if isinstance(held_out, list) else ())}


def read_word_origins(parts: Sequence[LinesPart]) -> dict[tuple[str, str], list[WordOrigin]]:
    """Return the origins of the words of all spliced lines, by dataset and line_id.

    Reads and checks all columns but the images. Datasets of earlier versions do not have the origins; a
    warning names these.

    Raises:
        InputError: a row is not as it must be, or an id occurs twice in a dataset.
    """
    origins: dict[tuple[str, str], list[WordOrigin]] = {}
    without = set()
    line_ids: dict[str, list[pa.ChunkedArray]] = {}
    with ThreadPoolExecutor(NUM_FOOTER_THREADS) as pool:
        for part, table in zip(parts, pool.map(_read_texts, parts), strict=True):
            line_ids.setdefault(part.dataset, []).append(table["line_id"])
            spliced = table.filter(pc.equal(table["source"], SPLICED))
            if "spliced_from" not in table.column_names:
                without |= {part.dataset} if spliced.num_rows else set()
                continue
            for row in spliced.to_pylist():
                words = row["spliced_from"] or []
                origins[part.dataset, row["line_id"]] = [WordOrigin(**word) for word in words]
    for dataset, columns in line_ids.items():
        _require_unique(dataset, columns)
    for dataset in sorted(without):
        log.warning(
            "%s has spliced lines without the column spliced_from, an earlier version wrote it: the report "
            "cannot compare their words with the same words in sentences; make it again with crop_pages",
            dataset,
        )
    return origins


def _read_texts(part: LinesPart) -> pa.Table:
    """Return the columns of a part that its word origins need, after all but the images were checked."""
    groups = [
        group.select([name for name in _ORIGIN_COLUMNS if name in group.column_names])
        for group in iter_groups(part.location, _TEXT_COLUMNS)
    ]
    return pa.concat_tables([*groups, *([] if groups else [_NO_ROWS])])


def _require_unique(dataset: str, columns: Sequence[pa.ChunkedArray]) -> None:
    counts = pc.value_counts(
        pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    )
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        raise InputError(
            f"line_id must be unique in a dataset, {repeated.field('values')[0]} of {dataset} occurs "
            f"{repeated.field('counts')[0]} times"
        )
