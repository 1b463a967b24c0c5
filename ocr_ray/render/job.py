"""Lines rendered: flags and inputs into a plan, the plan into a dataset."""

import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from ocr_ray.cli.flags import changed_flags
from ocr_ray.cluster.produce import ProduceOptions, Verification, produce
from ocr_ray.cluster.session import ray_session
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.dataset.plan import Plan, check_reserved, cut_parts
from ocr_ray.dataset.versions import drawing_versions
from ocr_ray.errors import InputError
from ocr_ray.randomness import check_seed
from ocr_ray.render.fonts.find import DEFAULT_FONTS, Font, describe, find_fonts
from ocr_ray.render.inputs import SourceConfig, gather_material, try_tokenizer
from ocr_ray.render.lines import Renderer, RenderInputs, render_part
from ocr_ray.render.style import Look, StyleConfig
from ocr_ray.storage.location import locate, require_folder
from ocr_ray.textgen.sampler import TextConfig, TextSampler

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
    sources: Annotated[SourceConfig, tyro.conf.arg(name="")] = field(default_factory=SourceConfig)
    fonts: tuple[str, ...] = DEFAULT_FONTS
    """Families in any language, files, batang.ttc#2, folders (with a slash), or NAME=URI."""
    fonts_uri: str | None = None
    """Folder of font files that is looked in first, for machines without fonts."""
    holdout_fonts: tuple[str, ...] = ()
    """Fonts of the test split, which train and validation do not have."""
    validation_share: float = 0.01
    """Share of the lines that becomes the validation split."""
    test_share: float = 0.01
    """Share that becomes the test split where fonts or words are held out; there is none otherwise."""
    text: Annotated[TextConfig, tyro.conf.arg(name="")] = field(default_factory=TextConfig)
    style: Look = "pages"
    """pages: as varied as scanned pages; plain: trdg's defaults."""
    look: Annotated[StyleConfig, tyro.conf.arg(name="style")] = field(default_factory=StyleConfig)
    renderer: Renderer = "fast"
    """fast; trdg: the same geometry ten times slower, with its own noise or --pictures-uri behind."""
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
        check_seed(self.seed)
        shares = self.validation_share, self.test_share
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise ValueError(f"validation_share and test_share must be from 0 to 1 together, got {shares}")
        if self.lines_per_part < 1:
            raise ValueError(f"lines_per_part must be at least 1, got {self.lines_per_part}")
        if self.sources.pictures_uri and self.renderer != "trdg":
            raise ValueError("pictures_uri needs --renderer trdg, got --renderer fast")
        self.engine()  # checks the rest

    def engine(self) -> ProduceOptions:
        return ProduceOptions(
            num_cpus=self.num_cpus, verify=self.verify, max_reject_fraction=self.max_reject_fraction
        )


def render_lines(config: RenderConfig) -> dict[str, Any]:
    """Make a dataset of rendered lines; return its summary.

    Raises:
        InputError: a font, the corpus or the output place is wrong; found before any line is drawn.
    """
    out = locate(config.out_uri)
    plan, inputs = plan_rendering(config)
    check_reserved(out, plan.config)
    with ray_session(num_cpus=config.num_cpus, writes=[out]):
        return produce(out, plan, render_part, inputs, config.engine())


def plan_rendering(config: RenderConfig) -> tuple[Plan, RenderInputs]:
    """Return the plan of a dataset and what its lines are made from; nothing is written.

    Raises:
        InputError: a font or another input is missing, or no line can be made of them.
    """
    fonts, holdout_fonts = _find_fonts(config)
    material = gather_material(config.sources, config.text, [*fonts, *holdout_fonts])
    inputs = RenderInputs(
        material=material.text,
        text=config.text,
        fonts=tuple(fonts),
        holdout_fonts=tuple(holdout_fonts),
        style=config.look if config.style == "pages" else None,
        renderer=config.renderer,
        pictures=material.pictures,
        image=config.image,
        seed=config.seed,
    )
    TextSampler(inputs.material, config.text)  # refuses what no line can be built from
    notes = {"fonts": [describe(font) for font in (*fonts, *holdout_fonts)], **material.notes}
    if config.sources.model:
        notes["tokenizer"] = try_tokenizer(material, config.text, config.seed)
    return _make_plan(config, inputs, material.identity, notes), inputs


def _find_fonts(config: RenderConfig) -> tuple[list[Font], list[Font]]:
    """Return the fonts of train and validation, and those of test alone."""
    folder = require_folder(config.fonts_uri, "--fonts-uri") if config.fonts_uri else None
    found = find_fonts((*config.fonts, *config.holdout_fonts), folder=folder)
    if not config.holdout_fonts:
        return found, []
    num_shown = len(found) - len(find_fonts(config.holdout_fonts, folder=folder))
    if not num_shown:
        raise InputError("--fonts must name a font that is not held out, got none")
    return found[:num_shown], found[num_shown:]


def _make_plan(
    config: RenderConfig, inputs: RenderInputs, identity: dict[str, Any], notes: dict[str, Any]
) -> Plan:
    numbers = count_lines(config)
    return Plan(
        config={
            "job": "render_lines",
            "num_lines": config.num_lines,
            "seed": config.seed,
            "validation_share": config.validation_share,
            "test_share": config.test_share if "test" in numbers else 0.0,
            "lines_per_part": config.lines_per_part,
            # Their order counts: it decides which line is set in which.
            "fonts": _identify(inputs.fonts),
            "holdout_fonts": _identify(inputs.holdout_fonts),
            **identity,
            "text": asdict(config.text),
            "style": asdict(inputs.style) if inputs.style else "plain",
            "renderer": config.renderer,
            "image": asdict(config.image),
            "versions": drawing_versions(),
        },
        parts=tuple(
            part
            for split, number in numbers.items()
            for part in cut_parts(split, FIRST_NUMBERS[split], number, config.lines_per_part)
        ),
        flags=describe_flags(config),
        notes=notes,
    )


def count_lines(config: RenderConfig) -> dict[str, int]:
    """Return the number of lines of each split that the dataset has."""
    num_validation = round(config.num_lines * config.validation_share)
    holds_out = bool(config.holdout_fonts or config.text.holdout_word_share)
    num_test = round(config.num_lines * config.test_share) if holds_out else 0
    numbers = {"train": config.num_lines - num_validation - num_test, "validation": num_validation}
    return numbers | ({"test": num_test} if holds_out else {})


def _identify(fonts: tuple[Font, ...]) -> dict[str, Any]:
    return {
        font.name: {"order": order, "sha256": font.sha256, "face": font.face}
        for order, font in enumerate(fonts)
    }


_ROOMS = {"sources": "", "text": "", "look": "style."}
"""What the flags of nested configurations begin with, where that is not their name."""
_PLACES = ("-uri", "lengths-like", "focus")
_FONTS = ("fonts", "holdout-fonts")


def describe_flags(config: RenderConfig) -> dict[str, Any]:
    """Return the flags of the job that differ from their defaults, places in full, by their names."""
    flags = changed_flags(config, RenderConfig(out_uri=""), _ROOMS)
    for flag, value in flags.items():
        if flag.endswith(_PLACES) or (flag == "model" and Path(value).is_dir()):
            flags[flag] = locate(value).uri
        elif flag in _FONTS:
            flags[flag] = tuple(map(_place_font, value))
    return flags


def _place_font(spec: str) -> str:
    """Return how a font is asked for, with its place in full where it names one."""
    name, equals, uri = spec.partition("=")
    if equals and "/" not in name:
        return f"{name}={locate(uri).uri}"
    if "/" in spec:
        return locate(spec).uri + ("/" if spec.endswith("/") else "")
    return str(Path(spec).resolve()) if Path(spec.partition("#")[0]).is_file() else spec
