"""The curves of a run as a picture: loss, CER of each dataset, learning rate and pace, over lines trained on.

Drawn on objects alone, never through pyplot, whose state all threads share.
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

SIZE_INCHES = (12.0, 7.5)
DPI = 100
OWN_FONT = "DejaVu Sans"
"""Comes with matplotlib, and has no Hangul."""
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
"""Taken for the names of datasets where a machine has them."""


def draw_curves(history: Sequence[Record]) -> bytes:
    """Return the PNG, 1200 x 750 px; the same history gives the same bytes on one machine."""
    training = [record for record in history if record["kind"] == "train"]
    validations = [record for record in history if record["kind"] == "validation"]
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    (loss, cer), (lr, pace) = figure.subplots(2, 2, sharex=True)
    _plot(loss, training, {"loss": "training"}, marker="")
    _plot(loss, validations, {"validation_loss": "validation", **_by_dataset(validations, "loss_all")})
    _finish(loss, "loss per token")
    _plot(cer, validations, {"validation_cer": "all", **_by_dataset(validations, "cer")})
    _finish(cer, "character error rate")
    cer.set_ylim(bottom=0)
    _plot(lr, training, {"lr": ""}, marker="")
    _finish(lr, "learning rate")
    _plot(pace, training, {"lines_per_second": "lines/s"}, marker="")
    wait = pace.twinx()
    _plot(wait, training, {"feed_wait_share": "waiting for lines"}, marker="", color="tab:red")
    wait.yaxis.set_major_formatter(StrMethodFormatter("{x:.0%}"))
    wait.set_ylim(0, 1)
    _finish(pace, "lines per second; red: share of the time spent waiting for them")
    pace.set_ylim(bottom=0)
    for axes in (lr, pace):
        axes.set_xlabel("lines trained on")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _by_dataset(validations: Sequence[Record], metric: str) -> dict[str, str]:
    """Return the keys of a metric of single datasets, with their names."""
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
    """Draw a line through the records that have a key, for each key."""
    for key, name in names.items():
        points = [(record["lines"], record[key]) for record in records if key in record]
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, linewidth=1.2, label=name, color=color)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize="medium", loc="left")
    axes.grid(visible=True, alpha=0.3)
    lines = [line for line in axes.get_lines() if line.get_label()]
    if len(lines) > 1:
        # A space before a name: one that begins with an underscore would not be shown.
        legend = axes.legend(lines, [f" {line.get_label()}" for line in lines], prop=_find_fonts()[0])
        for text in legend.get_texts():
            text.set_parse_math(False)


@cache
def _find_fonts() -> tuple[FontProperties, frozenset[int]]:
    """Return the fonts of names, one behind another, and the code points that they have together."""
    present = {entry.name for entry in fontManager.ttflist}
    names = [OWN_FONT, *(name for name in HANGUL_FONTS if name in present)]
    paths = [fontManager.findfont(name) for name in names]
    code_points = frozenset(code_point for path in paths for code_point in get_font(path).get_charmap())
    return FontProperties(family=names, size="small"), code_points


def _make_showable(name: str) -> str:
    """Return a name with `\\uXXXX` for what no font has."""
    return "".join(
        char if ord(char) in _find_fonts()[1] else char.encode("ascii", "backslashreplace").decode()
        for char in name
    )
