"""What the labels of many pages say, read before any page is cropped: what they hold, and where they go."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from ocr_ray.cluster.map_tasks import map_tasks
from ocr_ray.dataset.lines import Reject
from ocr_ray.errors import InputError, LabelError, OutOfScopeError, RowError
from ocr_ray.pages.crop import print_line
from ocr_ray.pages.files.store import Listing, PageFile, PageStore, pair_pages
from ocr_ray.pages.labels.read import MAX_LABEL_BYTES, BoxFormat, read_label
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
"""Of `pages.parquet`: each problem as a whole. `text` is null where the markup cannot be printed."""

SURVEY_SCHEMA = pa.schema(
    [
        *PROBLEM_SCHEMA,
        ("image_path", pa.string()),
        ("label_path", pa.string()),
        ("label_sha256", pa.string()),
        ("kind", pa.string()),
    ]
)
"""What is known of a page. `schema`, `markup` and `text` are null where the label cannot be read, `kind` is
null for a problem, else what the page is instead."""

READ_THREADS = 8


def survey_pages(
    store: PageStore,
    files: Sequence[PageFile],
    *,
    box_format: BoxFormat,
    seed: int,
    validation_share: float,
) -> pa.Table:
    """Return a row of `SURVEY_SCHEMA` for each page, in the order of `files`.

    A label that cannot be read is counted where its page is cropped; the page's id decides its split.
    """

    def survey(file: PageFile) -> dict[str, Any]:
        row = _read_problem(store, file, box_format)
        split = split_of_problem(row.get("markup", file.page_id), seed, validation_share)
        return row | {
            "page_id": file.page_id,
            "split": "test" if file.collection == "validation" else split,
            "image_path": file.image_path,
            "label_path": file.label_path,
        }

    with ThreadPoolExecutor(READ_THREADS) as pool:
        return pa.Table.from_pylist(list(pool.map(survey, files)), schema=SURVEY_SCHEMA)


def _read_problem(store: PageStore, file: PageFile, box_format: BoxFormat) -> dict[str, Any]:
    row: dict[str, Any] = {"label_sha256": ""}
    try:
        content = store.read(file.label_path, MAX_LABEL_BYTES)
        row["label_sha256"] = hashlib.sha256(content).hexdigest()
        label = read_label(content, file.page_id, box_format=box_format)
    except OutOfScopeError as error:
        return row | {"kind": error.reason}
    except RowError:
        return row
    markup = nfc(label.problem_markup).strip()
    return row | {"schema": label.schema, "markup": markup, "text": _try_print(markup)}


def _try_print(markup: str) -> str | None:
    try:
        return print_line(markup)
    except LabelError:
        return None


PAGES_PER_TASK = 1024
"""Labels read in one task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPages:
    """What lies at a place of pages; no label is read yet."""

    place: Location
    store: PageStore
    listing: Listing
    files: Sequence[PageFile]
    rejects: tuple[Reject, ...]
    others: dict[str, int]
    """Files that belong to no problem, by kind."""


def find_pages(pages_uri: str) -> FoundPages:
    """Return the pages at a place.

    Raises:
        InputError: it cannot be read, or there are none.
    """
    place = locate(pages_uri)
    try:
        store = PageStore(place)
    except InputError as error:
        raise InputError(f"--pages-uri: {error}") from error
    listing = store.list()
    files, unpaired, others = pair_pages(listing.files)
    if not files:
        raise InputError(
            "--pages-uri must hold images (.png, .jpg) and labels (.json) of the same names; "
            f"found no pair among the {len(listing.files)} files of {place}"
        )
    rejects = (*listing.rejects, *unpaired)
    return FoundPages(place=place, store=store, listing=listing, files=files, rejects=rejects, others=others)


def survey(
    found: FoundPages, look: Callable[[PageStore, Sequence[PageFile]], pa.Table], *, num_cpus: int | None
) -> Iterator[pa.Table]:
    """Yield what `look` says of all pages, in their order; it runs in tasks, `num_cpus` at once at most."""
    starts = range(0, len(found.files), PAGES_PER_TASK)
    batches = (found.files[start : start + PAGES_PER_TASK] for start in starts)
    return map_tasks(partial(look, found.store), batches, num_cpus=num_cpus)


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SPACE = re.compile(r"\s+")


def split_of_problem(problem_markup: str, seed: int, validation_share: float) -> str:
    """Return `train` or `validation`, by a hash of the problem's text keyed by `seed`.

    Numbers are masked and white space is dropped before hashing: problems that differ only in numbers would
    otherwise be learnt in one split and recognised in the other. A greater `validation_share` keeps what
    validation had.
    """
    if not 0 <= validation_share <= 1:
        raise ValueError(f"validation_share must be from 0 to 1, got {validation_share}")
    masked = _SPACE.sub("", _NUMBER.sub("0", unicodedata.normalize("NFC", problem_markup)))
    digest = hashlib.blake2b(masked.encode(), digest_size=8, key=seed.to_bytes(8, "little")).digest()
    share = (int.from_bytes(digest, "little") >> 11) / 2**53  # 53 bits: exact as a float, always below 1
    return "validation" if share < validation_share else "train"
