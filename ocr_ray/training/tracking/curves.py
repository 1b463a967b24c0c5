"""Training curves as an image: loss, CER by dataset, learning rate and throughput over lines trained on.

Drawn with matplotlib's objects, not with pyplot, whose state is shared by all threads.
"""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.ticker import StrMethodFormatter

Record = Mapping[str, Any]
"""`kind` (train or validation), `epoch` from 1, `lines` and `step` of all epochs, `seconds`, and metrics."""

SIZE_INCHES = (12.0, 7.5)
DPI = 100
STYLES = ("solid", "dashed", "dashdot", "dotted")
MARKERS = ("o", "s", "^", "D", "v")
"""Lines of one panel differ in style and marker, and the first is the widest, so that none hides another."""
LATIN_FONT = "DejaVu Sans"
"""Part of matplotlib; it has no Hangul."""
HANGUL_FONTS = (
    "NanumGothic",
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "Malgun Gothic",
    "AppleGothic",
    "Apple SD Gothic Neo",
    "Baekmuk Gulim",
    "UnDotum",
)
"""Used for the names of datasets if they are installed."""


def draw_curves(history: Sequence[Record]) -> bytes:
    """Return a PNG of 1200 x 750 px; the same history gives the same bytes on the same machine."""
    training = [record for record in history if record["kind"] == "train"]
    validations = [record for record in history if record["kind"] == "validation"]
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic(
        [["loss", "cer"], ["lr", "throughput"], ["lr", "wait"]], sharex=True, height_ratios=(3, 1, 1)
    )
    loss, cer, lr, throughput, wait = panels.values()
    _plot_training_loss(loss, training)
    _plot(loss, validations, {"validation_loss": "validation", **_by_dataset(validations, "loss_all")})
    _mark_best(loss, validations, "validation_loss")
    _finish(loss, "loss per token")
    _plot(cer, validations, {"validation_cer": "all", **_by_dataset(validations, "cer")})
    _mark_best(cer, validations, "validation_cer")
    _finish(cer, "character error rate")
    cer.set_ylim(bottom=0)
    _plot(lr, training, {"lr": ""}, has_marker=False)
    _finish(lr, "learning rate")
    _plot(throughput, training, {"lines_per_second": ""}, has_marker=False)
    _finish(throughput, "lines per second")
    throughput.set_ylim(bottom=0)
    _plot(wait, training, {"feed_wait_share": ""}, has_marker=False)
    wait.yaxis.set_major_formatter(StrMethodFormatter("{x:.0%}"))
    wait.set_ylim(0, 1)
    _finish(wait, "share of the time spent waiting for data")
    for axes in (lr, wait):
        axes.set_xlabel("lines trained on")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _plot_training_loss(axes: Axes, training: Sequence[Record]) -> None:
    """Plot the loss as it was recorded, pale, and smoothed in front of it."""
    losses = [record["loss"] for record in training]
    if not losses:
        return
    lines = [record["lines"] for record in training]
    axes.plot(lines, losses, linewidth=0.8, alpha=0.35, label="training", color="tab:blue")
    axes.plot(lines, smooth(losses), linewidth=1.8, label="training, smoothed", color="tab:blue")


def smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and its neighbours: a twentieth of all values, fewer towards both ends.

    There are as many neighbours before as after it, so that a straight line stays the same.
    """
    most = max(1, len(values) // 40)
    smoothed = []
    for index in range(len(values)):
        half = min(most, index, len(values) - 1 - index)
        smoothed.append(fmean(values[index - half : index + half + 1]))
    return smoothed


def _mark_best(axes: Axes, validations: Sequence[Record], key: str) -> None:
    """Mark the validation after which `best_ocr` was saved."""
    best = [record for record in validations if record.get("is_best") and key in record]
    if best:
        axes.plot(
            best[-1]["lines"],
            best[-1][key],
            marker="*",
            markersize=15,
            markeredgecolor="black",
            color="gold",
            linestyle="none",
            label=f"best: {best[-1][key]:.4g}",
            zorder=5,
        )


def _by_dataset(validations: Sequence[Record], metric: str) -> dict[str, str]:
    """Return the keys of a metric by dataset, with the names of the datasets.

    None if there is one dataset and its values are those of all.
    """
    end = f"/validation_{metric}"
    keys = dict.fromkeys(key for record in validations for key in record if key.endswith(end))
    total = f"validation_{metric.removesuffix('_all')}"
    if len(keys) == 1 and all(record.get(key) == record.get(total) for key in keys for record in validations):
        return {}
    return {key: _make_showable(key.removesuffix(end)) for key in keys}


def _plot(
    axes: Axes,
    records: Sequence[Record],
    names: Mapping[str, str],
    *,
    has_marker: bool = True,
) -> None:
    """Plot, for each key, the records that have it; a line that covers another lets it be seen."""
    for number, (key, name) in enumerate(names.items()):
        points = [(record["lines"], record[key]) for record in records if key in record]
        if points:
            colour, style = f"C{(number + 1) % 10}", STYLES[number % len(STYLES)]
            width = 2.6 if number == 0 and len(names) > 1 else 1.4
            axes.plot(
                *zip(*points, strict=True),
                marker=MARKERS[number % len(MARKERS)] if has_marker else "",
                markersize=5,
                linestyle=style,
                linewidth=width,
                label=name,
                color=colour,
            )


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize="medium", loc="left")
    axes.grid(visible=True, alpha=0.3)
    lines = [line for line in axes.get_lines() if line.get_label()]
    if len(lines) > 1:
        # With a space in front: matplotlib hides names that start with an underscore.
        legend = axes.legend(lines, [f" {line.get_label()}" for line in lines], prop=_find_fonts()[0])
        for text in legend.get_texts():
            text.set_parse_math(False)


@cache
def _find_fonts() -> tuple[FontProperties, frozenset[int]]:
    """Return the fonts for names, each the fallback of the one before, and the code points they cover."""
    present = {entry.name for entry in fontManager.ttflist}
    names = [LATIN_FONT, *(name for name in HANGUL_FONTS if name in present)]
    paths = [fontManager.findfont(name) for name in names]
    code_points = frozenset(code_point for path in paths for code_point in get_font(path).get_charmap())
    return FontProperties(family=names, size="small"), code_points


def _make_showable(name: str) -> str:
    """Return a name with `\\uXXXX` for characters that no font has."""
    return "".join(
        char if ord(char) in _find_fonts()[1] else char.encode("ascii", "backslashreplace").decode()
        for char in name
    )
