"""The job crop_pages: surveys labelled pages, plans the dataset, and produces its parts."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.early_start import early_ray
from ocr_ray.cluster.produce import produce
from ocr_ray.dataset.hub import DATASET_FILES, check_push, find_license, push
from ocr_ray.dataset.lines import FIRST_NUMBERS, FIRST_SPLICED_NUMBER, SPLITS, PartSpec
from ocr_ray.dataset.plan import MANIFEST, Plan, check_reserved, cut_parts, holds_plan, write_plan
from ocr_ray.dataset.versions import drawing_versions
from ocr_ray.errors import RowError
from ocr_ray.pages.config import CropConfig, produce_options
from ocr_ray.pages.crop import PageCrops, crop_page
from ocr_ray.pages.crop_part import CropInputs, crop_part
from ocr_ray.pages.html.preview import preview_html
from ocr_ray.pages.labels.page_label import PageLabel
from ocr_ray.pages.survey import PageSet, Survey, find_pages, survey_pages
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import check_writable, exists, locate, write_bytes

log = logging.getLogger(__name__)

PROBLEMS, PREVIEW = "pages.parquet", "preview.html"
JOB = "crop_pages"
WORKER_MODULES = ("ocr_ray.cluster.make_parts", "ocr_ray.pages.crop_part")
"""What workers import while the driver surveys the pages."""


def crop_pages(config: CropConfig) -> dict[str, Any]:
    """Make a dataset of the labelled lines of pages; return its summary.

    Raises:
        InputError: there are no pages, or the dataset cannot be written; raised before any page is cropped.
    """
    out = locate(config.out_uri)
    check_writable(out, "--out-uri")
    check_push(config.hub, find_license({"job": JOB}, describe_flags(config)))
    pages = find_pages(config.pages_uri)
    is_made = exists(out / MANIFEST)
    with early_ray(
        num_cpus=config.num_cpus, dashboard=config.dashboard, modules=WORKER_MODULES, unless=is_made
    ):
        survey = survey_pages(
            pages,
            box_format=config.box_format,
            seed=config.seed,
            validation_share=config.validation_share,
            num_cpus=config.num_cpus,
            is_made=is_made,
        )
        inputs = CropInputs(
            loader=survey.to_loader(pages, config.box_format),
            pages=_group_by_split(survey.pages),
            style=config.crop,
            seed=config.seed,
        )
        plan = _make_plan(config, inputs, _hash_pages(pages, survey))
        check_reserved(out, plan.config)
        if not (holds_plan(out, plan) and exists(out / PROBLEMS)):
            write_plan(out, plan)
            write_bytes(out / PROBLEMS, survey.problems)
        if config.preview:
            write_bytes(out / PREVIEW, preview_html(_choose_pages(inputs, config.preview)).encode())
            log.info("%d pages with their boxes: %s", config.preview, out / PREVIEW)
        pages_by_split = _report_splits(config, inputs, survey)
        options = produce_options(config)
        summary = produce(out, plan, (crop_part, inputs), options, reads=[pages.location])
    if config.hub.push_to_hub:
        summary["hub"] = push(out, config.hub.push_to_hub, "dataset", DATASET_FILES)
    return {
        **summary,
        "files": pages.listing.counts,
        "pages_by_split": pages_by_split,
        "problem_groups": survey.num_groups,
    }


def _group_by_split(pages: pa.Table) -> dict[str, pa.Table]:
    """Return the pages of each split; no test split if it is empty."""
    tables = {split: pages.filter(pc.equal(pages["split"], split)) for split in SPLITS}
    return {
        split: table.select(["page_id", "image_path", "label_path"]).combine_chunks()
        for split, table in tables.items()
        if table.num_rows or split != "test"
    }


def _report_splits(config: CropConfig, inputs: CropInputs, survey: Survey) -> dict[str, int]:
    """Return the number of pages of each split, and log it."""
    by_split = {split: table.num_rows for split, table in inputs.pages.items()}
    log.info(
        "%d groups of problems that differ only in numbers, dealt to the splits; pages: %s",
        survey.num_groups,
        ", ".join(f"{split} {number}" for split, number in by_split.items()),
    )
    for split, share in (("train", 1 - config.validation_share), ("validation", config.validation_share)):
        if share and not by_split[split]:
            log.warning("%s is empty: a group of problems cannot be divided", split)
    return by_split


def _hash_pages(pages: PageSet, survey: Survey) -> str:
    """Return a hash of ids, splits, labels, image sizes, rejects and files out of scope; not of paths."""
    sha256 = hashlib.sha256()
    for page_id, split, image_path, _, label_sha256 in survey.iter_rows():
        image_bytes = pages.listing.files[image_path][0]
        sha256.update(f"{page_id}\n{split}\n{label_sha256}\n{image_bytes}\n".encode())
    rejects = [(reject.reason, reject.page_id) for reject in pages.rejects]
    sha256.update(repr((rejects, sorted(survey.out_of_scope.items()))).encode())
    return sha256.hexdigest()


def _make_plan(config: CropConfig, inputs: CropInputs, pages_sha256: str) -> Plan:
    num_pages = {split: table.num_rows for split, table in inputs.pages.items()}
    num_spliced = divide_lines(config.splice, num_pages)
    return Plan(
        config={
            "job": JOB,
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


def divide_lines(num_lines: int, num_pages: Mapping[str, int]) -> dict[str, int]:
    """Return how many spliced lines each split gets: in proportion to its pages, rounded down; the largest
    split gets the remainder.
    """
    total = max(1, sum(num_pages.values()))
    lines = {split: num_lines * pages // total for split, pages in num_pages.items()}
    largest = max(lines, key=lambda split: num_pages[split])
    return lines | {largest: lines[largest] + num_lines - sum(lines.values())}


def cut_crop_parts(
    num_pages: Mapping[str, int], num_spliced: Mapping[str, int], items_per_part: int
) -> Iterator[PartSpec]:
    """Yield the parts of a dataset of crops: for each split those of pages, then those of spliced lines."""
    for split, number in num_pages.items():
        parts = cut_parts(split, 0, number, items_per_part)
        yield from parts
        if lines := num_spliced.get(split):
            first = FIRST_SPLICED_NUMBER + FIRST_NUMBERS[split]
            yield from cut_parts(split, first, lines, items_per_part, first_index=len(parts))


def _choose_pages(inputs: CropInputs, number: int) -> Iterator[tuple[str, bytes, PageLabel, PageCrops]]:
    """Yield id, image file, label and crops of random pages; those that cannot be read are left out."""
    ends = np.cumsum([table.num_rows for table in inputs.pages.values()])
    random = keyed_generator(inputs.seed, "preview", 0)
    chosen = np.sort(random.choice(int(ends[-1]), min(number, int(ends[-1])), replace=False))
    for split, first, end in zip(inputs.pages, [0, *ends], ends, strict=False):
        indices = chosen[(chosen >= first) & (chosen < end)] - first
        for file, loading in inputs.loader.load_ahead(inputs.list_files(split, indices.tolist())):
            try:
                page = loading.result()
                opened = page.open()
                crops = crop_page(page.label, opened.image, inputs.style, opened.warnings)
            except RowError:
                continue
            yield file.page_id, page.image_bytes, page.label, crops
