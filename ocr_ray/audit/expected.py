"""The expected content of a dataset, from its plan and its manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocr_ray.audit.inspect_part import ExpectedPart, Rules
from ocr_ray.dataset.lines import Manifest, PartSpec
from ocr_ray.dataset.manifest import read_manifest
from ocr_ray.dataset.plan import MANIFEST, PLAN, Plan, cut_parts
from ocr_ray.errors import InputError
from ocr_ray.pages.crop_job import cut_crop_parts
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.job import cut_dataset_parts
from ocr_ray.storage.json_fields import expect
from ocr_ray.storage.location import Location, exists, preflight, read_json
from ocr_ray.textgen.sampler import TextConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedDataset:
    """A dataset as its plan and manifest describe it."""

    location: Location
    plan: Plan
    manifest: Manifest
    parts: tuple[ExpectedPart, ...]

    @property
    def rules(self) -> Rules:
        return Rules.from_config(self.plan.config, self.plan.config_sha256)


def read_expected(location: Location) -> ExpectedDataset:
    """Return the content that plan and manifest of a dataset describe.

    Raises:
        InputError: one is missing, they are of different runs, or of a job that makes no lines.
    """
    with preflight(location, "--lines-uri") as dataset:
        for name in (PLAN, MANIFEST):
            if not exists(dataset / name):
                raise InputError(
                    f"--lines-uri must be a complete dataset, {location} has no {name}; give the "
                    "--out-uri of a finished job that makes lines, or run that job again"
                )
        written, manifest = read_json(dataset / PLAN), read_manifest(dataset)
    try:
        config, rows = expect(written["config"], dict, "config"), manifest.parts
        flags = expect(written.get("flags", {}), dict, "flags")
        plan = Plan(config=config, parts=_list_specs(config), flags=flags)
        Rules.from_config(config, plan.config_sha256)
        hashes = {plan.config_sha256, written["config_sha256"], manifest.config_sha256}
        parts = tuple(
            ExpectedPart(spec=spec, rows=row["rows"], size_bytes=row["bytes"], rows_sha256=row["sha256"])
            for spec, row in zip(plan.parts, rows, strict=False)
        )
        same = len(hashes) == 1 and manifest.config == config
        same = same and [row["path"] for row in rows] == [spec.path for spec in plan.parts]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            "--lines-uri must be a dataset of render_lines, crop_pages or label_pages of this version, "
            f"{PLAN} or {MANIFEST} of {location} is not: {error!r}"
        ) from error
    if not same:
        raise InputError(
            f"{PLAN} and {MANIFEST} must be of the same run, those of {location} are not; "
            f"move {MANIFEST} away and run its job again"
        )
    return ExpectedDataset(location=location, plan=plan, manifest=manifest, parts=parts)


def _list_specs(config: Mapping[str, Any]) -> tuple[PartSpec, ...]:
    """Return the parts that a dataset with this configuration has."""
    if config["job"] == "crop_pages":
        return tuple(cut_crop_parts(config["pages"], config["spliced"], config["pages_per_part"]))
    if config["job"] == "label_pages":
        return tuple(cut_parts("train", 0, config["pages"], config["pages_per_part"]))
    return tuple(
        cut_dataset_parts(
            RenderConfig(
                out_uri="",
                num_lines=config["num_lines"],
                validation_share=config["validation_share"],
                test_share=config["test_share"],
                holdout_fonts=tuple(config["holdout_fonts"]),
                text=TextConfig(holdout_word_share=config["text"]["holdout_word_share"]),
                lines_per_part=config["lines_per_part"],
            )
        )
    )
