"""Lines rendered: flags and inputs into a plan, the plan into a dataset."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.produce import produce
from ocr_ray.cluster.session import ray_session
from ocr_ray.dataset.lines import FIRST_NUMBERS
from ocr_ray.dataset.plan import Plan, check_reserved, cut_parts
from ocr_ray.dataset.versions import drawing_versions
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.fonts.find import Font, describe, find_fonts
from ocr_ray.render.inputs import gather_material, try_tokenizer
from ocr_ray.render.lines import RenderInputs, render_part
from ocr_ray.storage.location import locate, require_folder
from ocr_ray.textgen.sampler import TextSampler

log = logging.getLogger(__name__)


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
        flags=describe_flags(config, resolve=resolve_flag),
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


def resolve_flag(flag: str, value: Any) -> Any:
    """Return the value of a flag with locations and fonts in full."""
    if flag in ("lengths-like", "focus") or (flag == "model" and Path(value).is_dir()):
        return locate(value).uri
    if flag in ("fonts", "holdout-fonts"):
        return tuple(map(_place_font, value))
    return resolve_uri(flag, value)


def _place_font(spec: str) -> str:
    """Return how a font is asked for, with its place in full where it names one."""
    name, equals, uri = spec.partition("=")
    if equals and "/" not in name:
        return f"{name}={locate(uri).uri}"
    if "/" in spec:
        return locate(spec).uri + ("/" if spec.endswith("/") else "")
    return str(Path(spec).resolve()) if Path(spec.partition("#")[0]).is_file() else spec
