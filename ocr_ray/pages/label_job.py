"""Pages that label themselves: boxes read by a model into label files, Parquet parts and a review page."""

import hashlib
import logging
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pyarrow as pa

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.capacity import count_workers
from ocr_ray.cluster.produce import produce
from ocr_ray.cluster.session import ray_session
from ocr_ray.dataset.plan import Plan, check_reserved, cut_parts, holds_plan, write_plan
from ocr_ray.dataset.versions import drawing_versions
from ocr_ray.model.reader import LineReader, make_model_reader
from ocr_ray.pages.html.least_confident import find_doubtful, read_doubtful
from ocr_ray.pages.html.review import review_html
from ocr_ray.pages.label_config import LabelConfig
from ocr_ray.pages.label_part import ReadingInputs, ReadingStyle, read_part
from ocr_ray.pages.survey import FoundPages, find_pages, survey, survey_pages
from ocr_ray.storage.location import check_writable, locate, write_bytes

log = logging.getLogger(__name__)

LABELS, REVIEW = "labels", "review.html"


def label_pages(config: LabelConfig) -> dict[str, Any]:
    """Read the boxes of all pages with a model; return the summary of the dataset.

    Raises:
        InputError: pages, model or output place are wrong; found before any page is read.
    """
    check_writable(locate(config.out_uri), "--out-uri")
    found = find_pages(config.pages_uri)
    reader = make_model_reader(
        config.model_uri,
        batch_size=config.batch_size,
        max_aspect=config.max_aspect,
        use_gpu=config.use_gpu,
    )
    return read_pages(config, found, reader)


def read_pages(config: LabelConfig, found: FoundPages, reader: LineReader) -> dict[str, Any]:
    """Read the boxes of pages: label files, parts, the review page, the manifest; return the summary.

    Raises:
        InputError: the output place is wrong, or there is no GPU and can be none.
        ProductionError: too many boxes and pages gave no line.
    """
    out = locate(config.out_uri)
    with ray_session(num_cpus=config.num_cpus, reads=[found.place, *reader.files], writes=[out]):
        num_gpus = count_workers(None, use_gpu=True) if config.use_gpu else 0
        pages, kinds, pages_sha256 = _survey(found, config)
        inputs = ReadingInputs(
            store=found.store,
            pages=pages,
            rejects=found.rejects,
            out_of_scope=dict(sorted((Counter(found.others) + kinds).items())),
            box_format=config.box_format,
            style=ReadingStyle(
                label_column=reader.label_column,
                flag_below=config.flag_below,
                margin_px=config.margin_px,
                image=config.image,
            ),
            labels=out / LABELS,
            read=reader.read,
        )
        plan = _make_plan(config, inputs, {"pages_sha256": pages_sha256, **reader.identity})
        check_reserved(out, plan.config)
        if not holds_plan(out, plan):
            write_plan(out, plan)
        summary = produce(out, plan, read_part, inputs, replace(config.engine(), num_gpus=num_gpus))
    doubts = find_doubtful(out, plan.parts, pages, config.review)
    write_bytes(out / REVIEW, review_html(read_doubtful(out, plan.parts, inputs, doubts)).encode())
    flagged = summary.get("flagged", {})
    log.info("%s: %d lines, flagged: %s; look at %s", out, summary["lines"], flagged, out / REVIEW)
    return {**summary, "labels": (out / LABELS).uri, "review": (out / REVIEW).uri}


def _survey(found: FoundPages, config: LabelConfig) -> tuple[pa.Table, Counter[str], str]:
    """Return the pages that are problems, the number of the others by kind, and the hash of all content."""
    look = partial(survey_pages, box_format=config.box_format, seed=0, validation_share=0.0)
    kinds: Counter[str] = Counter()
    sha256 = hashlib.sha256(repr([(reject.reason, reject.page_id) for reject in found.rejects]).encode())
    tables = []
    for table in survey(found, look, num_cpus=config.num_cpus):
        kinds.update(table["kind"].drop_null().to_pylist())
        pages = table.filter(table["kind"].is_null())
        pages = pages.select(["page_id", "image_path", "label_path", "label_sha256"])
        for page_id, image_path, _, label_sha256 in zip(*pages.to_pydict().values(), strict=True):
            size_and_crc = found.listing.files[image_path]
            sha256.update(f"{page_id}\n{label_sha256}\n{size_and_crc[0]}\n".encode())
        tables.append(pages.drop_columns("label_sha256"))
    return pa.concat_tables(tables).combine_chunks(), kinds, sha256.hexdigest()


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
        extras=(REVIEW, *(f"{LABELS}/{page_id}.json" for page_id in page_ids)),
    )
