"""A survey of pages, made before any page is cropped or read: their problems, and their splits.

`find_pages` lists and pairs the files, `survey_pages` reads all labels in Ray tasks.
"""

import hashlib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.cluster.map_tasks import map_tasks
from ocr_ray.dataset.lines import Reject
from ocr_ray.errors import InputError, LabelError, OutOfScopeError, RowError
from ocr_ray.pages.crop import print_line
from ocr_ray.pages.files.load import PageLoader
from ocr_ray.pages.files.store import Listing, PageFile, PageStore, pair_pages
from ocr_ray.pages.labels.fields import MAX_LABEL_BYTES
from ocr_ray.pages.labels.page_label import BoxFormat
from ocr_ray.pages.labels.read import read_label
from ocr_ray.storage.location import Location, locate
from ocr_ray.text.hangul import nfc

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
        *PROBLEM_SCHEMA,
        ("image_path", pa.string()),
        ("label_path", pa.string()),
        ("label_sha256", pa.string()),
        ("kind", pa.string()),
    ]
)
"""One row per page. `schema`, `markup` and `text` are null if the label cannot be read; `kind` is null for a
problem, else says what the page is instead."""
PAGES_PER_TASK = 1024
READ_THREADS = 8

_PAGE_COLUMNS = ["page_id", "split", "image_path", "label_path", "label_sha256"]
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SPACE = re.compile(r"\s+")


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
    listing = store.list()
    files, unpaired, out_of_scope = pair_pages(listing.files)
    if not files:
        raise InputError(
            "--pages-uri must hold images (.png, .jpg) and labels (.json) of the same names; "
            f"found no pair in {location}, which holds {len(listing.files)} images and labels"
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
) -> Survey:
    """Read the labels of all pages, in Ray tasks on at most `num_cpus` CPUs; needs a running Ray session.

    The split of a page is drawn from its problem by `split_of_problem`; pages of AI Hub's Validation half
    are the test split.
    """
    survey_task = partial(
        _survey_files,
        store=pages.store,
        box_format=box_format,
        seed=seed,
        validation_share=validation_share,
    )
    starts = range(0, len(pages.files), PAGES_PER_TASK)
    tasks = (pages.files[start : start + PAGES_PER_TASK] for start in starts)
    kinds: Counter[str] = Counter()
    tables = []
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, PROBLEM_SCHEMA, compression="zstd") as writer:
        for table in map_tasks(survey_task, tasks, num_cpus=num_cpus):
            kinds.update(table["kind"].drop_null().to_pylist())
            in_scope = table.filter(table["kind"].is_null())
            tables.append(in_scope.select(_PAGE_COLUMNS))
            problems = in_scope.filter(in_scope["markup"].is_valid())
            writer.write_table(problems.select(PROBLEM_SCHEMA.names))
    return Survey(
        pages=pa.concat_tables(tables),
        out_of_scope=dict(sorted((Counter(pages.out_of_scope) + kinds).items())),
        problems=sink.getbuffer(),
    )


def _survey_files(
    files: Sequence[PageFile],
    *,
    store: PageStore,
    box_format: BoxFormat,
    seed: int,
    validation_share: float,
) -> pa.Table:
    """Return a row of `SURVEY_SCHEMA` for each page, in the order of `files`.

    A label that cannot be read is counted as a reject when its page is cropped; its split depends on the
    page's id.
    """

    def survey_file(file: PageFile) -> dict[str, Any]:
        row = _read_problem(store, file, box_format)
        split = split_of_problem(row.get("markup", file.page_id), seed, validation_share)
        return row | {
            "page_id": file.page_id,
            "split": "test" if file.collection == "validation" else split,
            "image_path": file.image_path,
            "label_path": file.label_path,
        }

    with ThreadPoolExecutor(READ_THREADS) as pool:
        return pa.Table.from_pylist(list(pool.map(survey_file, files)), schema=SURVEY_SCHEMA)


def _read_problem(store: PageStore, file: PageFile, box_format: BoxFormat) -> dict[str, Any]:
    """Return the columns of a page that come from its label."""
    row: dict[str, Any] = {"label_sha256": ""}
    try:
        content = store.read(file.label_path, MAX_LABEL_BYTES)
        row["label_sha256"] = hashlib.sha256(content).hexdigest()
        label = read_label(content, file.page_id, box_format=box_format)
    except OutOfScopeError as error:
        return row | {"kind": error.reason}
    except RowError:
        return row
    row |= {"schema": label.schema, "markup": nfc(label.problem_markup).strip()}
    try:
        return row | {"text": print_line(row["markup"])}
    except LabelError:
        return row


def split_of_problem(problem_markup: str, seed: int, validation_share: float) -> str:
    """Return `train` or `validation`, by a hash of the problem's text keyed by `seed`.

    Numbers are masked and white space is removed before hashing, because a model that has learnt a problem
    recognises the same problem with other numbers. With a larger `validation_share` all problems that were in
    validation stay there.
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must be from 0 to 1, got {validation_share}")
    masked = _SPACE.sub("", _NUMBER.sub("0", unicodedata.normalize("NFC", problem_markup)))
    digest = hashlib.blake2b(masked.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    share = (int.from_bytes(digest, "little") >> 11) / 2**53  # 53 bits: exact as a float, always below 1
    return "validation" if share < validation_share else "train"
