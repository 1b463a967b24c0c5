"""The comparison of real and synthetic lines as a page: histograms, characters, and flags to come nearer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ocr_ray.audit.compare import MEASURES
from ocr_ray.cli.flags import write_arguments, write_command
from ocr_ray.html_page import render_page
from ocr_ray.storage.location import Location

PAGE = "compare.html"
SIZE_PX = (320, 120)
TITLES = {
    "length": "Length in characters",
    "text_height_px": "Height of the text in px",
    "ink_grey": "Ink, grey value from 0 (black)",
    "paper_grey": "Paper, grey value up to 255 (white)",
    "aspect": "Width : height",
}


class Bar(NamedTuple):
    """A bar of a histogram, in px from the top left."""

    side: str
    x: float
    y: float
    width: float
    height: float
    label: str


def comparison_html(
    comparison: Mapping[str, Any], real: Location, synthetic: Location, flags: Mapping[str, Any]
) -> str:
    """Return the page of a comparison; `flags` are those that the synthetic lines were rendered with."""
    nearer, command = comparison["nearer"], ""
    if nearer and flags:
        # The ranges of a style are those of `--style pages`, the default.
        kept = {name: value for name, value in flags.items() if name != "style"}
        command = write_command("render_lines", {**kept, **nearer, "out-uri": f"{flags['out-uri']}_nearer"})
    return render_page(
        "audit/compare.html",
        title=f"{synthetic.name} compared with {real.name}",
        comparison=comparison,
        uris={"real": real.uri, "synthetic": synthetic.uri},
        titles=TITLES,
        histograms={measure: make_bars(comparison["histograms"][measure]) for measure in MEASURES},
        classes=_scale_classes(comparison["classes"]),
        size_px=SIZE_PX,
        nearer=write_arguments(nearer),
        command=command,
    )


def make_bars(histogram: Mapping[str, Sequence[float]]) -> list[Bar]:
    """Return the bars of both datasets, side by side in each bin; the highest has the height of the chart."""
    edges, most = histogram["edges"], max(*histogram["real"], *histogram["synthetic"])
    width = SIZE_PX[0] / (len(edges) - 1)
    return [
        Bar(
            side=side,
            x=round(width * (index + 0.5 * number) + 0.5, 1),
            y=round(SIZE_PX[1] * (1 - share / most), 1),
            width=round(width / 2 - 1, 1),
            height=round(SIZE_PX[1] * share / most, 1),
            label=f"{edges[index]:.4g} to {edges[index + 1]:.4g}: {share:.1%} of the {side} lines",
        )
        for number, side in enumerate(("real", "synthetic"))
        for index, share in enumerate(histogram[side])
        if share
    ]


def _scale_classes(
    classes: Mapping[str, Mapping[str, float]],
) -> list[tuple[str, dict[str, tuple[str, float]]]]:
    """Return the share of each dataset in each class, and the length of its bar in percent of the longest."""
    most = max(share for shares in classes.values() for share in shares.values())
    return [
        (name, {side: (f"{share:.1%}", round(100 * share / most, 1)) for side, share in shares.items()})
        for name, shares in classes.items()
    ]
