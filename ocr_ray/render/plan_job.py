"""Estimates how many context-free lines to render, and their size, time and cost.

Random words have no context. With too few of them the model keeps inventing the ends of lines; with too
many it stops using context where that helps. As a rule of thumb, render 30 to 50 % of the number of lines
with context, which are those of the pre-training plus the labelled ones. Size and time are estimated from
a pilot: a small number of lines that are rendered here.
"""

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ocr_ray.dataset.lines import PartSpec
from ocr_ray.dataset.parts import write_part
from ocr_ray.dataset.plan import Plan
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig
from ocr_ray.render.fonts.find import find_fonts
from ocr_ray.render.job import cut_dataset_parts, plan_rendering
from ocr_ray.render.lines import RenderInputs, render_part
from ocr_ray.render.plan_config import PlanConfig
from ocr_ray.storage.location import locate

log = logging.getLogger(__name__)

STARTER_LINES = (100_000, 300_000)
"""With few resources: start in this range, evaluate, and grow the dataset in place."""
WARM_UP_LINES = 1000
"""Lines rendered before the measurement, because a worker caches glyphs and renders many parts."""
SINGLE_FILES = 4
"""Files of a dataset other than its parts: plan, contact sheet, card, manifest."""
S3_PIECE_BYTES = 10 * 2**20
"""pyarrow uploads files of at least this size in pieces of this size, with one request per piece and two more
to open and complete the upload; it uploads a smaller file in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """Rate and size of lines rendered here, from text to Parquet."""

    lines: int
    """Includes rejects."""
    rejects: int
    lines_per_s: float
    """Rate of one core; in processor time, so that other programs do not count."""
    bytes_per_line: float


def plan_dataset(config: PlanConfig) -> dict[str, Any]:
    """Return how many lines to render, and the estimate for each number of lines; log them as a table.

    If the fonts are not installed, return only the counts and log a warning.

    Raises:
        InputError: the corpus is wrong, or the fonts lack what every line needs.

    Examples:
        >>> import ocr_ray
        >>> config = ocr_ray.PlanConfig(num_lines=(100_000,), pilot_lines=0)
        >>> [plan["lines"] for plan in ocr_ray.plan_dataset(config)["plans"]]
        [1804567, 3007612, 100000]
    """
    summary = plan_lines(config)
    pilot = None
    if config.pilot_lines:
        pilot = run_pilot(config.render_config(STARTER_LINES[0]), config.pilot_lines)
    for entry in summary["plans"]:
        parts = cut_dataset_parts(config.render_config(entry["lines"]))
        entry["parts"] = len(parts)
        if pilot:
            entry |= estimate(config, pilot, parts)
    log.info(
        "context-free lines for %d lines with context:\n%s",
        summary["contextual_lines"],
        format_plans(summary),
    )
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
        "estimated for %d machines with %d such cores at %g of that rate, without the start of machines; no "
        "upload was tested: each machine must send the MB/s of that column, or the cores wait",
        config.machines,
        config.cores_per_machine,
        config.efficiency,
    )


def plan_lines(config: PlanConfig) -> dict[str, Any]:
    """Return how many context-free lines to render for each ratio, in all and per font.

    Lines per font are rounded up. `starter_lines` is the range for a first dataset with few resources;
    `render_lines` grows it later without rendering a line again.
    """
    plans = [
        {"ratio": ratio, "lines": lines, "lines_per_font": -(-lines // config.fonts)}
        for ratio, lines in config.list_targets()
    ]
    contextual = config.pretraining_lines + config.labelled_lines
    return {"contextual_lines": contextual, "plans": plans, "starter_lines": list(STARTER_LINES)}


def run_pilot(config: RenderConfig, num_lines: int) -> Pilot | None:
    """Return rate and size of the first lines of a dataset, written as a part; None if fonts are missing.

    Raises:
        InputError: another input is wrong.
    """
    planned = _plan_pilot(config)
    if planned is None:
        return None
    plan, inputs = planned
    part = PartSpec(split="train", index=0, start=0, stop=num_lines)
    warm_up = PartSpec(split="train", index=1, start=num_lines, stop=num_lines + WARM_UP_LINES)
    log.info("pilot: %d lines after %d warm-up lines", num_lines, WARM_UP_LINES)
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


def _plan_pilot(config: RenderConfig) -> tuple[Plan, RenderInputs] | None:
    try:
        return plan_rendering(config)
    except InputError:
        try:
            find_fonts(config.fonts)
        except InputError as error:
            log.warning("no pilot, only counts: %s", error)
            return None
        raise


def estimate(config: PlanConfig, pilot: Pilot, parts: Sequence[PartSpec]) -> dict[str, Any]:
    """Return size, time and cost of the parts of a dataset, estimated from the pilot.

    `core_hours` assumes the rate of the pilot. `hours` on all machines includes cores that wait for the last
    parts, because one core renders a part. `upload_mb_per_s` is the upload rate of each machine.
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
    """Return the number of requests, billed as PUT, to upload a file to S3."""
    return 1 if size_bytes < S3_PIECE_BYTES else 2 + math.ceil(size_bytes / S3_PIECE_BYTES)


_COLUMNS = {
    "lines": ("lines", ",d"),
    "ratio": ("ratio", ".3g"),
    "lines_per_font": ("per font", ",d"),
    "parts": ("parts", ",d"),
    "gigabytes": ("GB", ",.1f"),
    "core_hours": ("core hours", ",.2f"),
    "hours": ("hours", ",.3f"),
    "upload_mb_per_s": ("MB/s", ",.0f"),
    "s3_put_requests": ("S3 PUTs", ",d"),
    "cost": ("cost", ",.2f"),
}
"""Heading and number format of each column."""


def format_plans(summary: dict[str, Any]) -> str:
    """Return the plans as a right-aligned table with the columns that have values."""
    plans = summary["plans"]
    names = [name for name in _COLUMNS if plans[0].get(name) is not None]
    rows = [[_COLUMNS[name][0] for name in names]]
    rows += [[format(plan[name], _COLUMNS[name][1]) for name in names] for plan in plans]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
