"""Labelled pages cut into lines: flags and labels into a plan, the plan into a dataset."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import tyro

from ocr_ray.cluster import ray_session
from ocr_ray.errors import InputError, RowError
from ocr_ray.lines import SPLITS, PartSpec, Reject, TextLine
from ocr_ray.pages.crop import CropStyle, crop_page, open_page
from ocr_ray.pages.files import MAX_IMAGE_BYTES, Listing, PageFile, PageStore, pair_pages
from ocr_ray.pages.labels import MAX_LABEL_BYTES, BoxFormat, OutOfScopeError, read_label
from ocr_ray.pages.problem_split import split_of_problem
from ocr_ray.parts import Plan, check_claim, cut_parts
from ocr_ray.randomness import check_seed
from ocr_ray.render.lines import drawing_versions
from ocr_ray.shards import Engine, Verification, produce
from ocr_ray.storage import locate


@dataclass(frozen=True, slots=True, kw_only=True)
class CropConfig:
    """Cut the labelled text lines out of AI Hub's maths pages (datasets 71716, 71718 and 71859)."""

    pages_uri: str
    """Folder or .zip with images (.png, .jpg) and their labels (.json), paired by name, in any sub-folders
    and zips."""
    out_uri: str
    """Where the dataset goes: an empty folder, or an earlier run of the same, which is completed."""
    validation_share: float = 0.2
    """Share of the problems that becomes the validation split; those that differ only in numbers stay
    together. What lies in Validation, as AI Hub delivers it, becomes the test split whole."""
    seed: int = 0
    """Decides the split."""
    box_format: BoxFormat = "xyxy"
    """How 71716 labels give a box: left, top, right, bottom; or left, top, width, height; or points."""
    crop: Annotated[CropStyle, tyro.conf.arg(name="")] = field(default_factory=CropStyle)
    pages_per_part: int = 1024
    """Pages whose lines share one Parquet file, which is one task."""
    num_cpus: int | None = None
    """The most CPUs used; None: all of this machine or cluster."""
    max_reject_fraction: float = 0.05
    """The job fails if a greater share of the boxes and pages was rejected."""
    verify: Verification = "footers"
    """How parts of an earlier run are checked; rows: every row is hashed again."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 0 <= self.validation_share <= 1:
            raise ValueError(f"validation_share must be from 0 to 1, got {self.validation_share}")
        if self.pages_per_part < 1:
            raise ValueError(f"pages_per_part must be at least 1, got {self.pages_per_part}")
        self.engine()  # checks the rest

    def engine(self) -> Engine:
        return Engine(
            num_cpus=self.num_cpus, verify=self.verify, max_reject_fraction=self.max_reject_fraction
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CropInputs:
    """What every part of a dataset of crops needs."""

    pages: PageStore
    files_by_split: dict[str, list[PageFile]]
    unpaired: list[Reject]
    """Files that make no page; they are accounted for in the first part."""
    box_format: BoxFormat
    style: CropStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """What the driver reads of a page: where it goes, and what its label holds."""

    file: PageFile
    identity: str
    """Of the label's content."""
    split: str
    num_boxes: int
    out_of_scope: dict[str, int]
    """Boxes of other kinds."""
    kind: str = ""
    """What the page is, if it is no problem: an answer or handwriting."""


def crop_pages(config: CropConfig) -> dict[str, Any]:
    """Make a dataset of the labelled lines of pages; return its summary.

    Raises:
        InputError: there are no pages, or the output place is wrong; found before any page is cropped.
    """
    place, out = locate(config.pages_uri), locate(config.out_uri)
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
    found = _read_problems(store, listing, files, config)
    problems = [problem for problem in found if not problem.kind]
    inputs = CropInputs(
        pages=store,
        files_by_split={
            split: its_files
            for split in SPLITS
            if (its_files := [problem.file for problem in problems if problem.split == split])
            or split != "test"
        },
        unpaired=[*listing.rejects, *unpaired],
        box_format=config.box_format,
        style=config.crop,
    )
    images = [(problem.file.image_path, *listing.files[problem.file.image_path]) for problem in problems]
    content = (
        [(problem.file.label_path, problem.identity) for problem in problems],
        images,
        [(reject.reason, reject.detail) for reject in inputs.unpaired],
    )
    plan = Plan(
        config={
            "job": "crop_pages",
            "num_pages": len(problems),
            "pages_sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
            "seed": config.seed,
            "validation_share": config.validation_share,
            "pages_per_part": config.pages_per_part,
            "box_format": config.box_format,
            **asdict(config.crop),
            "versions": drawing_versions(),
        },
        parts=tuple(
            part
            for split, its_files in inputs.files_by_split.items()
            for part in cut_parts(split, 0, len(its_files), config.pages_per_part)
        ),
        notes={"pages": _count(problems, found, others)},
    )
    check_claim(out, plan.config)
    with ray_session(num_cpus=config.num_cpus, reads=[place], writes=[out]):
        return produce(out, plan, crop_part, inputs, config.engine()) | plan.notes


def _count(problems: list[_Problem], found: list[_Problem], others: dict[str, int]) -> dict[str, Any]:
    """Return what the labels hold: pages and boxes, and those out of scope by kind."""
    boxes: Counter[str] = Counter()
    for problem in problems:
        boxes.update(problem.out_of_scope)
    kinds = Counter(others) + Counter(problem.kind for problem in found if problem.kind)
    return {
        "pages": len(problems),
        "pages_out_of_scope": dict(sorted(kinds.items())),
        "boxes": sum(problem.num_boxes for problem in problems),
        "boxes_out_of_scope": dict(sorted(boxes.items())),
    }


def _read_problems(
    store: PageStore, listing: Listing, files: list[PageFile], config: CropConfig
) -> list[_Problem]:
    """Return what the labels say, in the order of `files`; what is wrong with one is counted on cutting."""

    def read_problem(file: PageFile) -> _Problem:
        markup, num_boxes, others, kind = file.page_id, 0, {}, ""
        identity = repr(listing.files[file.label_path])
        try:
            content = store.read(file.label_path, MAX_LABEL_BYTES)
            identity = hashlib.sha256(content).hexdigest()
            label = read_label(content, file.page_id, box_format=config.box_format)
            markup, num_boxes, others = label.problem_markup, len(label.boxes), label.out_of_scope
        except OutOfScopeError as error:
            kind = error.reason
        except RowError:
            pass  # counted where the page is cropped
        split = split_of_problem(markup, config.seed, config.validation_share)
        return _Problem(
            file=file,
            identity=identity,
            split="test" if file.collection == "validation" else split,
            num_boxes=num_boxes,
            out_of_scope=others,
            kind=kind,
        )

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(read_problem, files))


def crop_part(inputs: CropInputs, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the lines of a part's pages, and a reject for every box and page that gave none."""
    if (spec.split, spec.index) == ("train", 0):
        yield from inputs.unpaired
    for file in inputs.files_by_split[spec.split][spec.start : spec.stop]:
        try:
            content = inputs.pages.read(file.label_path, MAX_LABEL_BYTES)
            label = read_label(content, file.page_id, box_format=inputs.box_format)
            page = open_page(inputs.pages.read(file.image_path, MAX_IMAGE_BYTES))
        except RowError as error:
            yield Reject(reason=error.reason, detail=error.detail, page_id=file.page_id)
            continue
        crops = crop_page(label, page, inputs.style)
        yield from crops.lines
        yield from crops.rejects
