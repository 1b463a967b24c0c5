"""Labelled pages cut into lines: flags and labels into a plan, the plan into a dataset."""

import hashlib
import io
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.produce import produce
from ocr_ray.cluster.session import ray_session
from ocr_ray.dataset.lines import FIRST_NUMBERS, FIRST_SPLICED_NUMBER, SPLITS, PartSpec
from ocr_ray.dataset.plan import Plan, check_reserved, cut_parts, holds_plan, write_plan
from ocr_ray.dataset.versions import drawing_versions
from ocr_ray.errors import RowError
from ocr_ray.pages.crop import PageCrops, crop_page
from ocr_ray.pages.crop_config import CropConfig
from ocr_ray.pages.crop_part import CropInputs, make_part, read_pages
from ocr_ray.pages.files.store import Listing
from ocr_ray.pages.html.preview import preview_html
from ocr_ray.pages.labels.read import PageLabel
from ocr_ray.pages.page_image import open_page
from ocr_ray.pages.survey import PROBLEM_SCHEMA, find_pages, survey, survey_pages
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import check_writable, exists, locate, write_bytes

log = logging.getLogger(__name__)

PROBLEMS, PREVIEW = "pages.parquet", "preview.html"


def crop_pages(config: CropConfig) -> dict[str, Any]:
    """Make a dataset of the labelled lines of pages; return its summary.

    Raises:
        InputError: there are no pages, or the output place is wrong; found before any page is cropped.
    """
    out = locate(config.out_uri)
    check_writable(out, "--out-uri")
    found = find_pages(config.pages_uri)
    with ray_session(num_cpus=config.num_cpus, reads=[found.place], writes=[out]):
        read = _Survey(found.listing)
        look = partial(
            survey_pages,
            box_format=config.box_format,
            seed=config.seed,
            validation_share=config.validation_share,
        )
        for table in survey(found, look, num_cpus=config.num_cpus):
            read.add(table)
        inputs = CropInputs(
            store=found.store,
            pages=read.pages_by_split(),
            rejects=found.rejects,
            out_of_scope=dict(sorted((Counter(found.others) + read.kinds).items())),
            box_format=config.box_format,
            style=config.crop,
            seed=config.seed,
        )
        plan = _make_plan(config, inputs, read.sha256(inputs))
        check_reserved(out, plan.config)
        if not (holds_plan(out, plan) and exists(out / PROBLEMS)):
            write_plan(out, plan)
            write_bytes(out / PROBLEMS, read.problems())
        if config.preview:
            write_bytes(out / PREVIEW, preview_html(_choose_pages(inputs, config.preview)).encode())
            log.info("%d pages with their boxes: %s", config.preview, out / PREVIEW)
        return produce(out, plan, make_part, inputs, config.engine())


class _Survey:
    """What the labels of all pages say: kept as Arrow tables, the problems' texts as a Parquet file."""

    def __init__(self, listing: Listing) -> None:
        self.kinds: Counter[str] = Counter()
        self._listing = listing
        self._sha256 = hashlib.sha256()
        self._pages: list[pa.Table] = []
        self._sink = io.BytesIO()
        self._writer = pq.ParquetWriter(self._sink, PROBLEM_SCHEMA, compression="zstd")

    def add(self, table: pa.Table) -> None:
        """Take the next pages."""
        self.kinds.update(table["kind"].drop_null().to_pylist())
        pages = table.filter(table["kind"].is_null())
        self._writer.write_table(pages.filter(pages["markup"].is_valid()).select(PROBLEM_SCHEMA.names))
        pages = pages.select(["page_id", "image_path", "label_path", "split", "label_sha256"])
        for page_id, image_path, _, split, sha256 in zip(*pages.to_pydict().values(), strict=True):
            num_bytes = self._listing.files[image_path][0]
            self._sha256.update(f"{page_id}\n{split}\n{sha256}\n{num_bytes}\n".encode())
        self._pages.append(pages.drop_columns("label_sha256"))

    def sha256(self, inputs: CropInputs) -> str:
        """Return the hash of ids, splits, labels and sizes of images, and of what is no page; no paths."""
        sha256 = self._sha256.copy()
        others = (
            [(reject.reason, reject.page_id) for reject in inputs.rejects],
            sorted(inputs.out_of_scope.items()),
        )
        sha256.update(repr(others).encode())
        return sha256.hexdigest()

    def pages_by_split(self) -> dict[str, pa.Table]:
        """Return the pages of each split; test is there if it has any."""
        pages = pa.concat_tables(self._pages)
        tables = {split: pages.filter(pc.equal(pages["split"], split)) for split in SPLITS}
        return {
            split: table.drop_columns("split").combine_chunks()
            for split, table in tables.items()
            if table.num_rows or split != "test"
        }

    def problems(self) -> memoryview:
        """Return the Parquet file of all problems, once all pages were added."""
        self._writer.close()
        return self._sink.getbuffer()


def _make_plan(config: CropConfig, inputs: CropInputs, pages_sha256: str) -> Plan:
    num_pages = {split: table.num_rows for split, table in inputs.pages.items()}
    num_spliced = share_lines(config.splice, num_pages)
    return Plan(
        config={
            "job": "crop_pages",
            "pages": num_pages,
            "spliced": num_spliced,
            "pages_sha256": pages_sha256,
            "seed": config.seed,
            "validation_share": config.validation_share,
            "pages_per_part": config.pages_per_part,
            "box_format": config.box_format,
            **asdict(config.crop),
            "versions": drawing_versions(),
        },
        parts=tuple(cut_crop_parts(num_pages, num_spliced, config.pages_per_part)),
        flags=describe_flags(config, resolve=resolve_uri),
        extras=(PROBLEMS, PREVIEW),
    )


def share_lines(number: int, num_pages: Mapping[str, int]) -> dict[str, int]:
    """Return how many of the spliced lines each split has: its share of the pages, the largest the rest."""
    total = max(1, sum(num_pages.values()))
    shares = {split: number * pages // total for split, pages in num_pages.items()}
    largest = max(shares, key=lambda split: num_pages[split])
    return shares | {largest: shares[largest] + number - sum(shares.values())}


def cut_crop_parts(
    num_pages: Mapping[str, int], num_spliced: Mapping[str, int], items_per_part: int
) -> Iterator[PartSpec]:
    """Yield the parts of a dataset of crops: in each split those of pages, then those of spliced lines."""
    for split, number in num_pages.items():
        parts = cut_parts(split, 0, number, items_per_part)
        yield from parts
        if lines := num_spliced.get(split):
            first = FIRST_SPLICED_NUMBER + FIRST_NUMBERS[split]
            yield from cut_parts(split, first, lines, items_per_part, first_index=len(parts))


def _choose_pages(inputs: CropInputs, number: int) -> Iterator[tuple[str, bytes, PageLabel, PageCrops]]:
    """Yield random pages whose labels can be read, with what is cut out of them."""
    ends = np.cumsum([table.num_rows for table in inputs.pages.values()])
    random = keyed_generator(inputs.seed, "preview", 0)
    chosen = np.sort(random.choice(int(ends[-1]), min(number, int(ends[-1])), replace=False))
    for split, first, end in zip(inputs.pages, [0, *ends], ends, strict=False):
        indices = chosen[(chosen >= first) & (chosen < end)] - first
        for file, read in read_pages(inputs, inputs.files_of(split, indices.tolist())):
            try:
                label, content = read.result()
                crops = crop_page(label, open_page(content), inputs.style)
            except RowError:
                continue
            yield file.page_id, content, label, crops
