"""Renders a dataset of lines: flags and inputs become a plan, the plan becomes a dataset."""

import logging
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from ocr_ray.cli.flags import describe_flags, resolve_uri
from ocr_ray.cluster.early_start import early_ray
from ocr_ray.cluster.produce import produce
from ocr_ray.dataset.hub import DATASET_FILES, check_push, find_license, push
from ocr_ray.dataset.lines import FIRST_NUMBERS, PartSpec
from ocr_ray.dataset.plan import MANIFEST, Plan, check_reserved, cut_parts
from ocr_ray.dataset.versions import drawing_versions
from ocr_ray.errors import InputError, require_package
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.fonts.find import Font, describe_font, find_fonts, identify_font
from ocr_ray.render.fonts.request import is_font_file, parse_request
from ocr_ray.render.inputs import check_tokenizer, load_inputs
from ocr_ray.render.lines import RenderInputs, render_part
from ocr_ray.storage.location import check_writable, exists, locate, require_folder
from ocr_ray.textgen.sampler import TextSampler

log = logging.getLogger(__name__)

JOB = "render_lines"
WORKER_MODULES = ("ocr_ray.cluster.make_parts", "ocr_ray.render.lines")
"""What workers import while the driver plans."""


def render_lines(config: RenderConfig) -> dict[str, Any]:
    """Render a dataset of lines; return its summary.

    Raises:
        InputError: a font, the corpus or the output location is wrong; found before any line is drawn.

    Examples:
        >>> import ocr_ray
        >>> config = ocr_ray.RenderConfig(out_uri="data/few", num_lines=20, seed=7, validation_share=0.1)
        >>> ocr_ray.render_lines(config)["by_split"]
        {'train': 18, 'validation': 2}
    """
    out = locate(config.out_uri)
    check_writable(out, "--out-uri")
    check_push(config.hub, find_license({"job": JOB}, describe_flags(config)))
    with early_ray(
        num_cpus=config.num_cpus,
        dashboard=config.dashboard,
        modules=WORKER_MODULES,
        unless=exists(out / MANIFEST),
    ):
        plan, inputs = plan_rendering(config)
        check_reserved(out, plan.config)
        summary = produce(out, plan, (render_part, inputs), config.engine())
    if config.hub.push_to_hub:
        summary["hub"] = push(out, config.hub.push_to_hub, "dataset", DATASET_FILES)
    return summary


def plan_rendering(config: RenderConfig) -> tuple[Plan, RenderInputs]:
    """Return the plan of a dataset and the inputs of its lines; write nothing.

    Raises:
        InputError: a font or another input is missing, or no lines can be made of them.
    """
    if config.renderer == "trdg":
        _check_trdg()
    fonts, holdout_fonts = _find_fonts(config)
    loaded = load_inputs(config.sources, config.text, [*fonts, *holdout_fonts])
    inputs = RenderInputs(
        text_inputs=loaded.text,
        text=config.text,
        fonts=tuple(fonts),
        holdout_fonts=tuple(holdout_fonts),
        style=config.look if config.style == "pages" else None,
        renderer=config.renderer,
        backgrounds=loaded.backgrounds,
        image=config.image,
        seed=config.seed,
    )
    TextSampler(inputs.text_inputs, config.text)  # raises InputError if no lines can be made
    notes = {"fonts": [describe_font(font) for font in (*fonts, *holdout_fonts)], **loaded.notes}
    if config.sources.model:
        notes["tokenizer"] = check_tokenizer(loaded, config.text, config.seed)
    return _make_plan(config, inputs, loaded.identity, notes), inputs


def _check_trdg() -> None:
    require_package("trdg", needed_by="--renderer trdg", install="ocr_ray[trdg]")
    try:
        import_module("ocr_ray.render.trdg")
    except ImportError as error:  # of a dependency of trdg
        raise InputError(
            f"trdg must be installed with the versions of CONTRIBUTING.md; it cannot be imported: {error}"
        ) from error


def _find_fonts(config: RenderConfig) -> tuple[list[Font], list[Font]]:
    """Return the fonts of train and validation, and those of test only."""
    folder = require_folder(config.fonts_uri, "--fonts-uri") if config.fonts_uri else None
    fonts = find_fonts((*config.fonts, *config.holdout_fonts), folder=folder)
    if not config.holdout_fonts:
        return fonts, []
    num_shown = len(fonts) - len(find_fonts(config.holdout_fonts, folder=folder))
    if not num_shown:
        raise InputError("--fonts must name a font that is not held out, got none")
    return fonts[:num_shown], fonts[num_shown:]


def _make_plan(
    config: RenderConfig, inputs: RenderInputs, identity: dict[str, Any], notes: dict[str, Any]
) -> Plan:
    return Plan(
        config={
            "job": JOB,
            "num_lines": config.num_lines,
            "seed": config.seed,
            "validation_share": config.validation_share,
            "test_share": config.test_share if "test" in compute_split_sizes(config) else 0.0,
            "lines_per_part": config.lines_per_part,
            # The order of the fonts determines which line has which font.
            "fonts": _identify(inputs.fonts),
            "holdout_fonts": _identify(inputs.holdout_fonts),
            **identity,
            "text": asdict(config.text),
            "style": asdict(inputs.style) if inputs.style else "plain",
            "renderer": config.renderer,
            "image": asdict(config.image),
            "versions": drawing_versions(with_trdg=config.renderer == "trdg"),
        },
        parts=tuple(cut_dataset_parts(config)),
        flags=describe_flags(config, resolve=resolve_flag),
        notes=notes,
    )


def compute_split_sizes(config: RenderConfig) -> dict[str, int]:
    """Return the number of lines in each split; there is no test split if nothing is held out."""
    num_validation = round(config.num_lines * config.validation_share)
    holds_out = bool(config.holdout_fonts or config.text.holdout_word_share)
    num_test = round(config.num_lines * config.test_share) if holds_out else 0
    sizes = {"train": config.num_lines - num_validation - num_test, "validation": num_validation}
    return sizes | ({"test": num_test} if holds_out else {})


def cut_dataset_parts(config: RenderConfig) -> list[PartSpec]:
    """Return the parts of all splits."""
    return [
        part
        for split, size in compute_split_sizes(config).items()
        for part in cut_parts(split, FIRST_NUMBERS[split], size, config.lines_per_part)
    ]


def _identify(fonts: tuple[Font, ...]) -> dict[str, Any]:
    return {font.name: {"order": order, **identify_font(font)} for order, font in enumerate(fonts)}


def resolve_flag(flag: str, value: Any) -> Any:
    """Return the value of a flag with absolute locations."""
    if flag in ("lengths-like", "focus") or (flag == "model" and Path(value).is_dir()):
        return locate(value).uri
    if flag in ("fonts", "holdout-fonts"):
        return tuple(map(_resolve_font, value))
    return resolve_uri(flag, value)


def _resolve_font(spec: str) -> str:
    """Return a value of `--fonts` with an absolute location if it names a file or folder."""
    request = parse_request(spec)
    name, source = request.name, request.source
    if name is None and "/" not in source and not (is_font_file(source) and Path(source).is_file()):
        return spec
    resolved = locate(source).uri + ("/" if source.endswith("/") else "") + request.suffix
    return resolved if name is None else f"{name}={resolved}"
