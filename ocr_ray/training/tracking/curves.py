"""Training curves as an image: loss, CER by dataset, learning rate and throughput over lines trained on.

Drawn with matplotlib's objects, not with pyplot, whose state is shared by all threads.
"""

import io
from collections.abc import Mapping, Sequence
from functools import cache
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
    (loss, cer), (lr, throughput) = figure.subplots(2, 2, sharex=True)
    _plot(loss, training, {"loss": "training"}, marker="")
    _plot(loss, validations, {"validation_loss": "validation", **_by_dataset(validations, "loss_all")})
    _finish(loss, "loss per token")
    _plot(cer, validations, {"validation_cer": "all", **_by_dataset(validations, "cer")})
    _finish(cer, "character error rate")
    cer.set_ylim(bottom=0)
    _plot(lr, training, {"lr": ""}, marker="")
    _finish(lr, "learning rate")
    _plot(throughput, training, {"lines_per_second": "lines/s"}, marker="")
    wait = throughput.twinx()
    _plot(wait, training, {"feed_wait_share": "waiting for data"}, marker="", color="tab:red")
    wait.yaxis.set_major_formatter(StrMethodFormatter("{x:.0%}"))
    wait.set_ylim(0, 1)
    _finish(throughput, "lines per second; red: share of the time spent waiting for data")
    throughput.set_ylim(bottom=0)
    for axes in (lr, throughput):
        axes.set_xlabel("lines trained on")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _by_dataset(validations: Sequence[Record], metric: str) -> dict[str, str]:
    """Return the keys of a metric by dataset, with the names of the datasets."""
    end = f"/validation_{metric}"
    keys = dict.fromkeys(key for record in validations for key in record if key.endswith(end))
    return {key: _make_showable(key.removesuffix(end)) for key in keys}


def _plot(
    axes: Axes,
    records: Sequence[Record],
    names: Mapping[str, str],
    *,
    marker: str = ".",
    color: str | None = None,
) -> None:
    """Plot, for each key, the records that have it."""
    for key, name in names.items():
        points = [(record["lines"], record[key]) for record in records if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, linewidth=1.2, label=name, color=color)


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
