"""The last lines of a job on a terminal: what was made, what to look at, what to run next."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

from ocr_ray.storage.strict_json import to_json

Summary = Mapping[str, Any]


def close_job(job: str, summary: Summary) -> list[str]:
    """Return the lines for a person; a job without lines of its own shows the values of its summary."""
    close = CLOSINGS.get(job)
    if close is None:
        return [
            f"{name}: {value if isinstance(value, str) else to_json(value)}"
            for name, value in summary.items()
        ]
    made, look, command = close(summary)
    return [f"made     {made}", f"look at  {look}", f"next     {command}"]


def _close_rendering(summary: Summary) -> tuple[str, str, str]:
    out = summary["out_uri"]
    return (
        _describe_lines(summary),
        f"{out}/lines.png",
        _command("train-trocr --run-name first --lines-uri", out),
    )


def _close_crops(summary: Summary) -> tuple[str, str, str]:
    out = summary["out_uri"]
    look = f"{out}/preview.html (with --preview 20), {out}/lines.png"
    return _describe_lines(summary), look, _command("train-trocr --run-name first --lines-uri", out)


def _close_labels(summary: Summary) -> tuple[str, str, str]:
    command = _command("train-trocr --run-name first --lines-uri", summary["out_uri"])
    return _describe_lines(summary), summary["review"], command


def _close_training(summary: Summary) -> tuple[str, str, str]:
    names = [name for name in ("best_ocr", "trained_ocr") if name in summary]
    models = [summary[name]["uri"] for name in names]
    command = _command("evaluate-trocr --model-uri", models[0], "--lines-uri LINES --out-uri evaluation")
    return ", ".join(models), f"{summary['run']}/curves.png", command


def _close_evaluation(summary: Summary) -> tuple[str, str, str]:
    cer = summary["overall"]["cer"]
    rate = "" if cer is None else f", CER {100 * cer:.2f} %"
    command = _command("render-lines --out-uri focused --num-lines 100000 --focus", summary["report"])
    return f"predictions of {summary['lines']:,} lines{rate}", summary["page"], command


def _close_quickstart(summary: Summary) -> tuple[str, str, str]:
    lines = summary["lines"]
    counts = f"{lines['rendered']:,} rendered and {lines['cropped']:,} cropped lines"
    made = f"{counts}, 2 models, in {summary['out_uri']}"
    page = f"{summary['report'].removesuffix('.json')}.html"
    return made, f"{page} ({summary['note']})", "ocr-ray render-lines --out-uri data/lines --num-lines 100000"


CLOSINGS: dict[str, Callable[[Summary], tuple[str, str, str]]] = {
    "quickstart": _close_quickstart,
    "render_lines": _close_rendering,
    "crop_pages": _close_crops,
    "label_pages": _close_labels,
    "train_trocr": _close_training,
    "evaluate_trocr": _close_evaluation,
}


def _describe_lines(summary: Summary) -> str:
    splits = ", ".join(f"{split} {number:,}" for split, number in summary["by_split"].items())
    rejects = sum(summary["rejects"].values())
    left_out = f"; {rejects:,} rejects, see {summary['out_uri']}/rejects" if rejects else ""
    return f"{summary['lines']:,} lines ({splits}) in {summary['out_uri']}{left_out}"


def _command(start: str, uri: str, end: str = "") -> str:
    return " ".join(["ocr-ray", start, shlex.quote(uri), *([end] if end else [])])
