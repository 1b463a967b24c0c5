"""How many context-free lines to render, and what that takes.

Words drawn at random have no context. Too few of them and the model goes on inventing the tails of lines; too
many and it stops using context where context helps. The rule of thumb: 30 to 50 % of the lines that do have
context, those of the pre-training and the labelled ones together. What they take is reckoned from a pilot,
some lines rendered here.
"""

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ocr_ray.dataset.lines import FIRST_NUMBERS, PartSpec
from ocr_ray.dataset.parts import write_part
from ocr_ray.dataset.plan import Plan, cut_parts
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.fonts.find import find_fonts
from ocr_ray.render.job import count_lines, plan_rendering
from ocr_ray.render.lines import RenderInputs, render_part
from ocr_ray.render.plan_config import PlanConfig
from ocr_ray.storage.location import locate

log = logging.getLogger(__name__)

STARTER_LINES = (100_000, 300_000)
"""With few resources: begin in this range, look at what evaluation says, and grow the dataset in place."""
WARM_UP_LINES = 1000
"""Rendered before the clock starts: a worker keeps the glyphs that it has drawn, and makes many parts."""
SINGLE_FILES = 4
"""A dataset's files beside its parts: plan, picture, card, manifest."""
S3_PIECE_BYTES = 10 * 2**20
"""pyarrow uploads a file of this size or more in such pieces, one request each, between one that opens and
one that ends the upload; smaller ones in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What some lines rendered here gave, from text to Parquet."""

    lines: int
    """Rejects included."""
    rejects: int
    lines_per_s: float
    """Of one core: seconds of processor time, so that other programs here do not count."""
    bytes_per_line: float


def plan_dataset(config: PlanConfig) -> dict[str, Any]:
    """Return how many lines to render and what each number of them takes; log it as a table.

    Where the fonts are not installed there are the counts alone, and a warning.

    Raises:
        InputError: the corpus is wrong, or the fonts lack what every line needs.

    Example:
        >>> import ocr_ray
        >>> config = ocr_ray.PlanConfig(num_lines=(100_000,), pilot_lines=0)
        >>> [plan["lines"] for plan in ocr_ray.plan_dataset(config)["plans"]]
        [1804567, 3007612, 100000]
    """
    summary = plan_lines(config)
    pilot = run_pilot(config.recipe(STARTER_LINES[0]), config.pilot_lines) if config.pilot_lines else None
    for entry in summary["plans"]:
        parts = _cut_all_parts(config.recipe(entry["lines"]))
        entry["parts"] = len(parts)
        if pilot:
            entry |= estimate(config, pilot, parts)
    log.info("%d lines have context; beside them:\n%s", summary["contextual_lines"], format_plans(summary))
    if pilot:
        _log_pilot(config, pilot)
    assumed = {name: getattr(config, name) for name in ("machines", "cores_per_machine", "efficiency")}
    return summary | {"pilot": asdict(pilot) if pilot else None, **assumed}


def _log_pilot(config: PlanConfig, pilot: Pilot) -> None:
    log.info(
        "one core here: %.0f lines/s, %.0f bytes a line, %d of %d lines rejected",
        pilot.lines_per_s,
        pilot.bytes_per_line,
        pilot.rejects,
        pilot.lines,
    )
    log.info(
        "reckoned for %d machines of %d such cores at %g of that rate, without the start of machines; no "
        "upload was tried: it holds the cores up unless each machine sends the MB/s of that column",
        config.machines,
        config.cores_per_machine,
        config.efficiency,
    )


def plan_lines(config: PlanConfig) -> dict[str, Any]:
    """Return how many context-free lines to render for each ratio, in all and per font.

    Lines per font are rounded up, so that no font falls short. `starter_lines` is a first dataset for few
    resources; `render_lines` grows it later without making a line again.
    """
    plans = [
        {"ratio": ratio, "lines": lines, "lines_per_font": -(-lines // config.fonts)}
        for ratio, lines in config.wanted()
    ]
    contextual = config.pretraining_lines + config.labelled_lines
    return {"contextual_lines": contextual, "plans": plans, "starter_lines": list(STARTER_LINES)}


def run_pilot(recipe: RenderConfig, num_lines: int) -> Pilot | None:
    """Return what the first lines of a dataset take, written as its part on one core; None without fonts.

    Raises:
        InputError: another input is wrong.
    """
    planned = _plan_pilot(recipe)
    if planned is None:
        return None
    plan, inputs = planned
    part = PartSpec(split="train", index=0, start=0, stop=num_lines)
    warm_up = PartSpec(split="train", index=1, start=num_lines, stop=num_lines + WARM_UP_LINES)
    log.info("pilot: %d lines, after %d to warm up", num_lines, WARM_UP_LINES)
    with tempfile.TemporaryDirectory(prefix="ocr_ray-") as folder:
        write_part(locate(folder), warm_up, plan.config_sha256, render_part(inputs, warm_up))
        started_s = time.process_time()
        stats, _ = write_part(locate(folder), part, plan.config_sha256, render_part(inputs, part))
        seconds = time.process_time() - started_s
    return Pilot(
        lines=num_lines,
        rejects=stats.num_rejects,
        lines_per_s=num_lines / seconds,
        bytes_per_line=stats.size_bytes / num_lines,
    )


def _plan_pilot(recipe: RenderConfig) -> tuple[Plan, RenderInputs] | None:
    try:
        return plan_rendering(recipe)
    except InputError:
        try:
            find_fonts(recipe.fonts)
        except InputError as error:
            log.warning("no pilot, and counts alone: %s", error)
            return None
        raise


def _cut_all_parts(recipe: RenderConfig) -> list[PartSpec]:
    return [
        part
        for split, number in count_lines(recipe).items()
        for part in cut_parts(split, FIRST_NUMBERS[split], number, recipe.lines_per_part)
    ]


def estimate(config: PlanConfig, pilot: Pilot, parts: Sequence[PartSpec]) -> dict[str, Any]:
    """Return what the parts of a dataset take, by the pilot.

    `core_hours` are those of cores working alone; `hours` on the machines count a core that waits for the
    last parts too, since a part is made by one. `upload_mb_per_s` is what each machine then sends.
    """
    sizes = [part.stop - part.start for part in parts]
    size_bytes = round(sum(sizes) * pilot.bytes_per_line)
    rounds = math.ceil(len(parts) / (config.machines * config.cores_per_machine))
    seconds = rounds * max(sizes) / pilot.lines_per_s / config.efficiency
    price = config.machine_price
    return {
        "bytes": size_bytes,
        "gigabytes": size_bytes / 1e9,
        "core_hours": sum(sizes) / pilot.lines_per_s / 3600,
        "hours": seconds / 3600,
        "upload_mb_per_s": size_bytes / 1e6 / seconds / config.machines,
        "s3_put_requests": sum(count_puts(size * pilot.bytes_per_line) for size in sizes)
        + (len(parts) + SINGLE_FILES) * count_puts(0),  # a part's rejects are a small file
        "cost": None if price is None else price * config.machines * seconds / 3600,
    }


def count_puts(size_bytes: float) -> int:
    """Return the requests, billed as PUT, that the upload of a file to S3 takes."""
    return 1 if size_bytes < S3_PIECE_BYTES else 2 + math.ceil(size_bytes / S3_PIECE_BYTES)


_COLUMNS = {
    "lines": ("lines", ",d"),
    "ratio": ("ratio", ".3g"),
    "lines_per_font": ("a font", ",d"),
    "parts": ("parts", ",d"),
    "gigabytes": ("GB", ",.1f"),
    "core_hours": ("core hours", ",.2f"),
    "hours": ("hours", ",.3f"),
    "upload_mb_per_s": ("MB/s", ",.0f"),
    "s3_put_requests": ("S3 PUTs", ",d"),
    "cost": ("cost", ",.2f"),
}
"""The head and the number format of each column."""


def format_plans(summary: dict[str, Any]) -> str:
    """Return the plans as a table, right-aligned, with the columns that are known."""
    plans = summary["plans"]
    names = [name for name in _COLUMNS if plans[0].get(name) is not None]
    rows = [[_COLUMNS[name][0] for name in names]]
    rows += [[format(plan[name], _COLUMNS[name][1]) for name in names] for plan in plans]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
