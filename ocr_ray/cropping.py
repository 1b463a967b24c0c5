"""Labelled pages cut into lines: flags and inputs into a plan, the plan into a dataset."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from ocr_ray.cluster import ray_session
from ocr_ray.errors import InputError, LabelError, RowError
from ocr_ray.images import ImageConfig
from ocr_ray.lines import PartSpec, Reject, TextLine
from ocr_ray.pages.aihub import PageFile, pair_pages, read_label, split_of_problem
from ocr_ray.pages.crop import crop_page, open_page
from ocr_ray.parts import Plan, check_claim, cut_parts
from ocr_ray.randomness import check_seed
from ocr_ray.render.lines import drawing_versions
from ocr_ray.shards import Engine, Verification, produce
from ocr_ray.storage import Location, list_files, locate, read_bytes, require_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class CropConfig:
    """Cut the labelled text lines out of AI Hub's maths pages (dataset 71716)."""

    pages_uri: str
    """Folder with images (.png, .jpg) and their labels (.json), paired by name, in any sub-folders."""
    out_uri: str
    """Where the dataset goes: an empty folder, or an earlier run of the same, which is completed."""
    validation_share: float = 0.2
    """Share of the problems that becomes the validation split; those that differ only in numbers stay
    together."""
    seed: int = 0
    """Decides the split."""
    image: ImageConfig = field(default_factory=lambda: ImageConfig(format="png"))
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

    pages: Location
    files_by_split: dict[str, list[PageFile]]
    unpaired: list[Reject]
    """Files that make no page; they are accounted for in the first part."""
    image: ImageConfig


def crop_pages(config: CropConfig) -> dict[str, Any]:
    """Make a dataset of the labelled lines of pages; return its summary.

    Raises:
        InputError: there are no pages, or the output place is wrong; found before any page is cropped.
    """
    pages, out = require_folder(config.pages_uri, "--pages-uri"), locate(config.out_uri)
    sizes = list_files(pages)
    files, unpaired = pair_pages(sizes)
    if not files:
        raise InputError(
            "--pages-uri must hold images (.png, .jpg) and labels (.json) of the same names, not in zips; "
            f"found no pair among the {len(sizes)} files of {pages}"
        )
    labels, splits = _read_labels(pages, files, config)
    images = [(file.image_path, sizes[file.image_path]) for file in files]
    content = (labels, images, [(reject.reason, reject.detail) for reject in unpaired])
    files_by_split = {
        split: [file for file, its_split in zip(files, splits, strict=True) if its_split == split]
        for split in ("train", "validation")
    }
    plan = Plan(
        config={
            "job": "crop_pages",
            "num_pages": len(files),
            "pages_sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest(),
            "seed": config.seed,
            "validation_share": config.validation_share,
            "pages_per_part": config.pages_per_part,
            "image": asdict(config.image),
            "versions": drawing_versions(),
        },
        parts=tuple(
            part
            for split, its_files in files_by_split.items()
            for part in cut_parts(split, 0, len(its_files), config.pages_per_part)
        ),
    )
    check_claim(out, plan.config)
    inputs = CropInputs(pages=pages, files_by_split=files_by_split, unpaired=unpaired, image=config.image)
    with ray_session(num_cpus=config.num_cpus, reads=[pages], writes=[out]):
        return produce(out, plan, crop_part, inputs, config.engine())


def _read_labels(
    pages: Location, files: list[PageFile], config: CropConfig
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the path and SHA-256 of each page's label, and the split of each page."""

    def read_split(file: PageFile) -> tuple[str, str]:
        content = read_bytes(pages / file.label_path)
        try:
            problem = read_label(content, file.page_id).problem_markup
        except LabelError:  # counted where the page is cropped
            problem = file.page_id
        split = split_of_problem(problem, config.seed, config.validation_share)
        return hashlib.sha256(content).hexdigest(), split

    with ThreadPoolExecutor(32) as pool:
        digests, splits = zip(*pool.map(read_split, files), strict=True)
    return list(zip((file.label_path for file in files), digests, strict=True)), list(splits)


def crop_part(inputs: CropInputs, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the lines of a part's pages, and a reject for every box and page that gave none."""
    if (spec.split, spec.index) == ("train", 0):
        yield from inputs.unpaired
    for file in inputs.files_by_split[spec.split][spec.start : spec.stop]:
        try:
            label = read_label(read_bytes(inputs.pages / file.label_path), file.page_id)
            page = open_page(read_bytes(inputs.pages / file.image_path))
        except RowError as error:
            yield Reject(reason=error.reason, detail=error.detail, page_id=file.page_id)
            continue
        lines, rejects = crop_page(label, page, inputs.image)
        yield from lines
        yield from rejects
