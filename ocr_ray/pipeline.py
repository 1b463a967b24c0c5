"""The producers wired up: flags and inputs into a plan, the plan into a dataset."""

import hashlib
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import tyro

from ocr_ray.cluster import ray_session
from ocr_ray.errors import InputError, LabelError, RowError
from ocr_ray.images import ImageConfig, encode_image
from ocr_ray.lines import FIRST_NUMBERS, PartSpec, Reject, TextLine
from ocr_ray.pages.aihub import PageFile, pair_pages, read_label, split_of_problem
from ocr_ray.pages.crop import crop_page, open_page
from ocr_ray.parts import Plan, check_claim, cut_parts
from ocr_ray.randomness import MAX_SEED
from ocr_ray.render.fonts import DEFAULT_FONTS, Font, find_fonts, shared_characters
from ocr_ray.render.style import choose_font, draw_style
from ocr_ray.render.trdg import draw_line, drawing_versions
from ocr_ray.shards import Engine, Verification, produce
from ocr_ray.storage import Location, list_files, locate, read_bytes, require_folder
from ocr_ray.text.corpus import read_corpus, restrict_corpus
from ocr_ray.text.sampler import CHARACTERS, TextConfig, TextSampler

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderConfig:
    """Render lines of random words and arithmetic, in equal shares of every font."""

    out_uri: str
    """Where the dataset goes: an empty folder, or an earlier run of the same, which is completed or grown."""
    num_lines: int = 300_000
    """Lines in all; may grow from run to run. With few resources start at 100,000 to 300,000."""
    seed: int = 0
    """Line i depends on the seed, i, the corpus and the fonts, and on nothing else."""
    corpus_uri: str | None = None
    """Folder of .txt files whose words are drawn at random; None: the word list of the package."""
    fonts: tuple[str, ...] = DEFAULT_FONTS
    """Names, or NAME=URI of a .ttf, .ttc or .otf."""
    validation_share: float = 0.01
    """Share of the lines that becomes the validation split."""
    text: Annotated[TextConfig, tyro.conf.arg(name="")] = field(default_factory=TextConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    lines_per_part: int = 4096
    """Lines in one Parquet file, which is one task."""
    num_cpus: int | None = None
    """The most CPUs used; None: all of this machine or cluster."""
    max_reject_fraction: float = 0.01
    """The job fails if a greater share of the lines could not be drawn."""
    verify: Verification = "footers"
    """How parts of an earlier run are checked; rows: every row is hashed again."""

    def __post_init__(self) -> None:
        limit = FIRST_NUMBERS["validation"]
        if not 1 <= self.num_lines < limit:
            raise ValueError(f"num_lines must be from 1 to {limit - 1}, got {self.num_lines}")
        check_production(self)


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
        check_production(self)


def check_production(config: RenderConfig | CropConfig) -> None:
    """Check what both producers' flags have in common; ValueError otherwise."""
    if not 0 <= config.seed <= MAX_SEED:
        raise ValueError(f"seed must be from 0 to {MAX_SEED}, got {config.seed}")
    for name in ("validation_share", "max_reject_fraction"):
        if not 0 <= (share := getattr(config, name)) <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {share}")
    for name in ("lines_per_part", "pages_per_part", "num_cpus"):
        if (number := getattr(config, name, None)) is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")


def render_lines(config: RenderConfig) -> dict[str, Any]:
    """Make a dataset of rendered lines; return its summary.

    Raises:
        InputError: a font, the corpus or the output place is wrong; found before any line is drawn.
    """
    out = locate(config.out_uri)
    fonts = find_fonts(config.fonts)
    characters = shared_characters(fonts)
    if lacking := sorted(CHARACTERS - characters):
        raise InputError(f"every font must have {' '.join(lacking)}; choose other --fonts")
    corpus = read_corpus(require_folder(config.corpus_uri, "--corpus-uri") if config.corpus_uri else None)
    corpus, num_dropped = restrict_corpus(corpus, characters)
    log.info("%d words; %d more have characters that a font lacks", len(corpus.words), num_dropped)
    inputs = RenderInputs(
        words=corpus.words,
        text=config.text,
        fonts={font.name: font for font in fonts},
        image=config.image,
        seed=config.seed,
    )
    TextSampler(corpus.words, config.text)  # refuses a corpus that no line can be built from
    plan = plan_lines_dataset(config, fonts, corpus.sha256_by_file)
    check_claim(out, plan.config)
    with ray_session(num_cpus=config.num_cpus, writes=[out]):
        return produce(out, plan, render_part, inputs, _engine(config))


def plan_lines_dataset(config: RenderConfig, fonts: Sequence[Font], corpus_sha256: dict[str, str]) -> Plan:
    """Return the plan of a rendered dataset: each split's numbers from its own start."""
    num_validation = round(config.num_lines * config.validation_share)
    numbers = {"train": config.num_lines - num_validation, "validation": num_validation}
    return Plan(
        config={
            "job": "render_lines",
            "num_lines": config.num_lines,
            "seed": config.seed,
            "validation_share": config.validation_share,
            "lines_per_part": config.lines_per_part,
            # Their order counts: it decides which line is set in which.
            "fonts": {
                font.name: {"order": order, "sha256": font.sha256, "face": font.face}
                for order, font in enumerate(fonts)
            },
            "corpus": corpus_sha256,
            "text": asdict(config.text),
            "image": asdict(config.image),
            "versions": drawing_versions(),
        },
        parts=tuple(
            part
            for split, number in numbers.items()
            for part in cut_parts(split, FIRST_NUMBERS[split], number, config.lines_per_part)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderInputs:
    """What every part of a rendered dataset needs: content, no paths of this machine."""

    words: tuple[str, ...]
    text: TextConfig
    fonts: dict[str, Font]
    image: ImageConfig
    seed: int


def render_part(inputs: RenderInputs, spec: PartSpec) -> tuple[list[TextLine], list[Reject]]:
    """Return the lines of a part and those that could not be drawn."""
    sampler = TextSampler(inputs.words, inputs.text)
    lines: list[TextLine] = []
    rejects: list[Reject] = []
    for number in range(spec.start, spec.stop):
        try:
            lines.append(render_line(inputs, sampler, number))
        except RowError as error:
            rejects.append(Reject(reason=error.reason, detail=error.detail, number=number))
    return lines, rejects


def render_line(inputs: RenderInputs, sampler: TextSampler, number: int) -> TextLine:
    """Return line `number`; RenderError if it cannot be drawn."""
    line = sampler.draw(inputs.seed, number)
    style = draw_style(inputs.seed, number)
    font = choose_font(list(inputs.fonts), inputs.seed, number)
    image = draw_line(line.text, inputs.fonts[font], style)
    return TextLine(
        line_id=f"{number:09d}",
        image_bytes=encode_image(image, inputs.image),
        text=line.text,
        markup=line.markup,
        source=line.source,
        font=font,
        width_px=image.width,
        height_px=image.height,
        style=style.to_json(),
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
        return produce(out, plan, crop_part, inputs, _engine(config))


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


def crop_part(inputs: CropInputs, spec: PartSpec) -> tuple[list[TextLine], list[Reject]]:
    """Return the lines of a part's pages, and every box and page that gave none."""
    lines: list[TextLine] = []
    rejects = list(inputs.unpaired) if (spec.split, spec.index) == ("train", 0) else []
    for file in inputs.files_by_split[spec.split][spec.start : spec.stop]:
        try:
            label = read_label(read_bytes(inputs.pages / file.label_path), file.page_id)
            page = open_page(read_bytes(inputs.pages / file.image_path))
        except RowError as error:
            rejects.append(Reject(reason=error.reason, detail=error.detail, page_id=file.page_id))
            continue
        page_lines, page_rejects = crop_page(label, page, inputs.image)
        lines += page_lines
        rejects += page_rejects
    return lines, rejects


def _engine(config: RenderConfig | CropConfig) -> Engine:
    return Engine(
        num_cpus=config.num_cpus, verify=config.verify, max_reject_fraction=config.max_reject_fraction
    )
