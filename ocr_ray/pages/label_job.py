"""The job label_pages: a model reads boxes into label files, Parquet parts and a review page."""

import hashlib
import logging
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.early_start import early_ray
from ocr_ray.cluster.on_gpu import call_on_gpu
from ocr_ray.cluster.produce import produce
from ocr_ray.dataset.plan import MANIFEST, Plan, check_reserved, cut_parts, read_plan_config
from ocr_ray.dataset.versions import drawing_versions
from ocr_ray.errors import InputError
from ocr_ray.model.options import Decoding
from ocr_ray.model.reader import LineReader, make_model_reader
from ocr_ray.model.reading_precision import settle_precision
from ocr_ray.pages.apply_job import apply_corrections
from ocr_ray.pages.config import LabelConfig, produce_options
from ocr_ray.pages.html.least_confident import find_least_confident, read_labelled_pages
from ocr_ray.pages.html.review import ReviewedDataset, review_html
from ocr_ray.pages.label_part import GPU_PAGES_AT_ONCE, PAGES_AT_ONCE, ReadingInputs, ReadingStyle, label_part
from ocr_ray.pages.label_studio import task_of_page
from ocr_ray.pages.survey import PageSet, Survey, find_pages, survey_pages
from ocr_ray.storage.location import check_writable, exists, locate, write_bytes, write_json

log = logging.getLogger(__name__)

LABELS, REVIEW, LABEL_STUDIO = "labels", "review.html", "label_studio.json"
WORKER_MODULES = ("ocr_ray.cluster.make_parts", "ocr_ray.pages.label_part")
"""What workers import while the driver surveys the pages."""


def label_pages(config: LabelConfig) -> dict[str, Any]:
    """Read the boxes of all pages with a model, or apply corrections; return the summary of the dataset.

    Raises:
        InputError: pages or model cannot be read, or the dataset cannot be written; raised before any page
            is read.
    """
    _check_flags(config)
    if config.apply:
        return apply_corrections(config)
    out = locate(config.out_uri)
    check_writable(out, "--out-uri")
    pages = find_pages(config.pages_uri)
    is_made = exists(out / MANIFEST)  # then the model was checked
    with early_ray(
        num_cpus=config.num_cpus, dashboard=config.dashboard, modules=WORKER_MODULES, unless=is_made
    ):
        precision = settle_precision(
            "auto", read_plan_config(out), use_gpu=config.use_gpu, call_on_gpu=call_on_gpu
        )
        decoding = Decoding(batch_size=config.batch_size, precision=precision, max_aspect=config.max_aspect)
        reader = make_model_reader(config.model_uri, decoding, use_gpu=config.use_gpu, is_checked=is_made)
        return label_with(reader, config, pages)


def _check_flags(config: LabelConfig) -> None:
    """Check that the flags of one of the two kinds of work are given."""
    names = ["labelled_uri"] if config.apply else ["model_uri", "pages_uri"]
    if missing := [f"--{name.replace('_', '-')}" for name in names if not getattr(config, name)]:
        raise InputError(
            f"{' and '.join(missing)} must be given {'with' if config.apply else 'without'} --apply"
        )
    if config.labelled_uri and not config.apply:
        raise InputError("--labelled-uri must be given with --apply only, which names the corrections")


def label_with(reader: LineReader, config: LabelConfig, pages: PageSet) -> dict[str, Any]:
    """Write label files, parts, review page and manifest of pages; return the summary.

    Raises:
        InputError: the dataset cannot be written, or there is no GPU and none can start.
        ProductionError: too many boxes and pages gave no line.
    """
    out = locate(config.out_uri)
    survey = survey_pages(
        pages,
        box_format=config.box_format,
        num_cpus=config.num_cpus,
        is_made=exists(out / MANIFEST),
    )
    inputs = ReadingInputs(
        loader=survey.to_loader(pages, config.box_format),
        pages=survey.pages.select(["page_id", "image_path", "label_path"]).combine_chunks(),
        style=ReadingStyle(
            label_column=reader.label_column,
            flag_below=config.flag_below,
            margin_px=config.margin_px,
            image=config.image,
        ),
        labels=out / LABELS,
        read=reader.read,
        pages_at_once=GPU_PAGES_AT_ONCE if config.use_gpu else PAGES_AT_ONCE,
    )
    plan = _make_plan(config, inputs, {"pages_sha256": _hash_pages(pages, survey), **reader.identity})
    check_reserved(out, plan.config)
    options = replace(produce_options(config), use_gpu=config.use_gpu)
    reads = [pages.location, *reader.files]
    summary = produce(out, plan, (label_part, inputs), options, reads=reads)
    chosen = find_least_confident(out, plan.parts, inputs.pages, config.review)
    review = ReviewedDataset(
        config_sha256=plan.config_sha256, label_column=reader.label_column, box_format=config.box_format
    )
    labelled = partial(read_labelled_pages, out, plan.parts, inputs, chosen)
    write_bytes(out / REVIEW, review_html(labelled(), review).encode())
    if config.label_studio_images:
        tasks = [
            task_of_page(page, review, prefix=config.label_studio_images, margin_px=config.margin_px)
            for page in labelled()
        ]
        write_json(out / LABEL_STUDIO, tasks)
    flagged = summary.get("flagged", {})
    log.info("%s: %d lines, flagged: %s; review them in %s", out, summary["lines"], flagged, out / REVIEW)
    return {
        **summary,
        "files": pages.listing.counts,
        "labels": (out / LABELS).uri,
        "review": (out / REVIEW).uri,
    }


def _hash_pages(pages: PageSet, survey: Survey) -> str:
    """Return a hash of ids, labels, image sizes and rejected files, but not of paths."""
    sha256 = hashlib.sha256(repr([(reject.reason, reject.page_id) for reject in pages.rejects]).encode())
    for page_id, _, image_path, _, label_sha256 in survey.iter_rows():
        image_bytes = pages.listing.files[image_path][0]
        sha256.update(f"{page_id}\n{label_sha256}\n{image_bytes}\n".encode())
    return sha256.hexdigest()


def _make_plan(config: LabelConfig, inputs: ReadingInputs, identity: dict[str, Any]) -> Plan:
    page_ids = inputs.pages["page_id"].to_pylist()
    return Plan(
        config={
            "job": "label_pages",
            "pages": len(page_ids),
            **identity,
            "pages_per_part": config.pages_per_part,
            "box_format": config.box_format,
            **asdict(inputs.style),
            "versions": drawing_versions(),
        },
        parts=tuple(cut_parts("train", 0, len(page_ids), config.pages_per_part)),
        flags=describe_flags(config, resolve=resolve_uri),
        extras=(REVIEW, LABEL_STUDIO, *(f"{LABELS}/{page_id}.json" for page_id in page_ids)),
    )
