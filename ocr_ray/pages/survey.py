"""A survey of pages, made before any page is cropped or read: their problems, and their splits.

`find_pages` lists and pairs the files, `survey_pages` reads all labels.
"""

import hashlib
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.cluster.ray_state import joins_cluster
from ocr_ray.dataset.lines import Reject
from ocr_ray.errors import InputError, LabelError, OutOfScopeError, RowError
from ocr_ray.pages.crop import print_line
from ocr_ray.pages.files.load import PageLoader
from ocr_ray.pages.files.store import Listing, PageFile, PageStore, pair_pages
from ocr_ray.pages.labels.fields import MAX_LABEL_BYTES
from ocr_ray.pages.labels.page_label import BoxFormat, is_empty
from ocr_ray.pages.labels.read import read_label
from ocr_ray.pages.splits import Keys, Sizes, choose_validation, problem_key
from ocr_ray.storage.location import Location, locate, preflight
from ocr_ray.text.hangul import nfc

log = logging.getLogger(__name__)

PROBLEM_SCHEMA = pa.schema(
    [
        ("page_id", pa.string()),
        ("split", pa.string()),
        ("schema", pa.string()),
        ("markup", pa.string()),
        ("text", pa.string()),
    ]
)
"""Columns of `pages.parquet`, one row per problem; `text` is null if the markup cannot be printed."""
SURVEY_SCHEMA = pa.schema(
    [
        *(field for field in PROBLEM_SCHEMA if field.name != "split"),
        ("problem_key", pa.uint64()),
        ("is_test", pa.bool_()),
        ("num_texts", pa.int32()),
        ("image_path", pa.string()),
        ("label_path", pa.string()),
        ("label_sha256", pa.string()),
        ("kind", pa.string()),
    ]
)
"""One row per page. `schema`, `markup` and `text` are null if the label cannot be read; `kind` is null for a
problem, else says what the page is instead. The split of a page depends on all pages."""
PAGES_PER_TASK = 1024
MAX_PAGES_HERE = 4 * PAGES_PER_TASK
"""Labels that the job reads itself, which on a disk takes no longer than the start of Ray."""
READ_THREADS = 8

_SPLIT_COLUMNS = ["problem_key", "is_test", "num_texts"]
_FILE_COLUMNS = ["page_id", "image_path", "label_path", "label_sha256"]
_PAGE_COLUMNS = ["page_id", "split", "image_path", "label_path", "label_sha256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSet:
    """The files at a location of pages, paired; no label is read yet."""

    location: Location
    store: PageStore
    listing: Listing
    files: Sequence[PageFile]
    rejects: tuple[Reject, ...]
    out_of_scope: dict[str, int]
    """Number of files that belong to no problem, by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The labels of all pages, summed up."""

    pages: pa.Table
    """`page_id`, `split`, `image_path`, `label_path`, `label_sha256` of each page that is a problem or whose
    label cannot be read."""
    out_of_scope: dict[str, int]
    """Number of files and pages that are no problem, by kind."""
    problems: memoryview
    """The file `pages.parquet`."""
    num_groups: int
    """Number of groups of problems that differ only in numbers, without those of the test split."""

    def iter_rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield the rows of `pages`, without holding them all as Python objects."""
        for batch in self.pages.to_batches():
            yield from zip(*batch.to_pydict().values(), strict=True)

    def to_loader(self, pages: PageSet, box_format: BoxFormat) -> PageLoader:
        """Return the loader of the pages; it accounts for all other files."""
        return PageLoader(
            store=pages.store, box_format=box_format, rejects=pages.rejects, out_of_scope=self.out_of_scope
        )


def find_pages(pages_uri: str) -> PageSet:
    """Return the pages at a URI, a folder or a zip.

    Raises:
        InputError: it cannot be read, or there are none.
    """
    location = locate(pages_uri)
    try:
        store = PageStore(location)
    except InputError as error:
        raise InputError(f"--pages-uri: {error}") from error
    with preflight(location, "--pages-uri"):
        listing = store.list()
    log.info("%s: %s", location, ", ".join(f"{kind} {number}" for kind, number in listing.counts.items()))
    if listing.unread:
        shown = [f"{path} ({advice})" for path, advice in list(listing.unread.items())[:3]]
        raise InputError(
            f"--pages-uri must hold images, labels and zips; {location} also holds archives that are not "
            f"read ({len(listing.unread)}): {', '.join(shown)}; move them away afterwards"
        )
    files, unpaired, out_of_scope = pair_pages(listing.files)
    if not files:
        raise InputError(
            "--pages-uri must hold images (.png, .jpg) and labels (.json) of the same names; "
            f"found no pair in {location}, which holds {dict(listing.counts)}"
            + (f"; {listing.rejects[0].detail}" if listing.rejects else "")
        )
    return PageSet(
        location=location,
        store=store,
        listing=listing,
        files=files,
        rejects=(*listing.rejects, *unpaired),
        out_of_scope=out_of_scope,
    )


def survey_pages(
    pages: PageSet,
    *,
    box_format: BoxFormat,
    seed: int = 0,
    validation_share: float = 0.0,
    num_cpus: int | None,
    is_made: bool = False,
) -> Survey:
    """Read the labels of all pages: here if they are few or `is_made` says that the dataset is there, so that
    Ray is not needed; else in Ray tasks on at most `num_cpus` CPUs.

    Pages of AI Hub's Validation half are the test split, `choose_validation` divides the others.
    """
    survey_task = partial(_survey_files, store=pages.store, box_format=box_format, seed=seed)
    starts = range(0, len(pages.files), PAGES_PER_TASK)
    tasks = (pages.files[start : start + PAGES_PER_TASK] for start in starts)
    kinds: Counter[str] = Counter()
    tables, problems = [], []
    is_here = len(pages.files) <= MAX_PAGES_HERE or (is_made and not joins_cluster())
    for table in map(survey_task, tasks) if is_here else _map_over_ray(survey_task, tasks, pages, num_cpus):
        kinds.update(table["kind"].drop_null().to_pylist())
        in_scope = table.filter(table["kind"].is_null())
        tables.append(in_scope.select(_SPLIT_COLUMNS + _FILE_COLUMNS))
        problems.append(_compress(in_scope.filter(in_scope["markup"].is_valid())))
    keys, sizes = _count_groups(pa.concat_tables(tables))
    validation = choose_validation(keys, sizes, validation_share)
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, PROBLEM_SCHEMA, compression="zstd") as writer:
        for problem in problems:
            writer.write_table(_add_split(pq.read_table(problem), validation).select(PROBLEM_SCHEMA.names))
    return Survey(
        pages=pa.concat_tables(_add_split(table, validation).select(_PAGE_COLUMNS) for table in tables),
        out_of_scope=dict(sorted((Counter(pages.out_of_scope) + kinds).items())),
        problems=sink.getbuffer(),
        num_groups=len(keys),
    )


def _map_over_ray(
    task: Callable[[Sequence[PageFile]], pa.Table],
    groups: Iterable[Sequence[PageFile]],
    pages: PageSet,
    num_cpus: int | None,
) -> Iterator[pa.Table]:
    from ocr_ray.cluster.map_tasks import map_tasks
    from ocr_ray.cluster.session import ray_session

    with ray_session(num_cpus=num_cpus, reads=[pages.location]):
        yield from map_tasks(task, groups, num_cpus=num_cpus)


def _compress(problems: pa.Table) -> pa.BufferReader:
    """Return problems as a file in memory, which takes much less of it."""
    sink = io.BytesIO()
    pq.write_table(problems, sink, compression="zstd")
    return pa.BufferReader(sink.getvalue())


def _count_groups(pages: pa.Table) -> tuple[Keys, Sizes]:
    """Return the keys of the groups of problems, ascending, and the number of pages of each.

    Pages without texts in boxes, which give no lines, do not count, unless all pages are such.
    """
    pages = pages.filter(pc.invert(pages["is_test"]))
    keys, indices = np.unique(pages["problem_key"].to_numpy(), return_inverse=True)
    counts = pages["num_texts"].to_numpy() > 0
    return keys, np.bincount(indices[counts if counts.any() else slice(None)], minlength=len(keys))


def _add_split(pages: pa.Table, validation: Keys) -> pa.Table:
    is_validation = pc.is_in(pages["problem_key"], value_set=pa.array(validation, pa.uint64()))
    splits = pc.if_else(pages["is_test"], "test", pc.if_else(is_validation, "validation", "train"))
    return pages.append_column("split", splits)


def _survey_files(
    files: Sequence[PageFile],
    *,
    store: PageStore,
    box_format: BoxFormat,
    seed: int,
) -> pa.Table:
    """Return a row of `SURVEY_SCHEMA` for each page, in the order of `files`.

    A label that cannot be read is counted as a reject when its page is cropped; its page's id stands for the
    problem.
    """

    def survey_file(file: PageFile) -> dict[str, Any]:
        row = _read_problem(store, file, box_format)
        return row | {
            "page_id": file.page_id,
            "problem_key": problem_key(row.get("markup", file.page_id), seed),
            "is_test": file.collection == "validation",
            "image_path": file.image_path,
            "label_path": file.label_path,
        }

    with ThreadPoolExecutor(READ_THREADS) as pool:
        return pa.Table.from_pylist(list(pool.map(survey_file, files)), schema=SURVEY_SCHEMA)


def _read_problem(store: PageStore, file: PageFile, box_format: BoxFormat) -> dict[str, Any]:
    """Return the columns of a page that come from its label."""
    row: dict[str, Any] = {"label_sha256": "", "num_texts": 0}
    try:
        content = store.read(file.label_path, MAX_LABEL_BYTES)
        row["label_sha256"] = hashlib.sha256(content).hexdigest()
        label = read_label(content, file.page_id, box_format=box_format)
    except OutOfScopeError as error:
        return row | {"kind": error.reason}
    except RowError:
        return row
    row |= {
        "schema": label.schema,
        "markup": nfc(label.problem_markup).strip(),
        "num_texts": sum(not is_empty(box.markup) for box in label.boxes),
    }
    try:
        return row | {"text": print_line(row["markup"])}
    except LabelError:
        return row
