"""What the labels of many pages say, read before any page is cropped: what they hold, and where they go."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from ocr_ray.errors import LabelError, OutOfScopeError, RowError
from ocr_ray.pages.crop import print_line
from ocr_ray.pages.files.store import PageFile, PageStore
from ocr_ray.pages.labels.read import MAX_LABEL_BYTES, BoxFormat, read_label
from ocr_ray.pages.problem_split import split_of_problem
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
