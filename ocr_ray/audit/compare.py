"""Real and synthetic lines side by side: what they say, and how they look.

At most 2,000 lines of each train split are looked at, the same each time: random row groups, random lines of
them, so that few groups are read. The characters that synthetic lines lack are those of the whole dataset.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from ocr_ray.dataset.lines import TextLine, table_to_lines
from ocr_ray.dataset.parts import ROWS_PER_GROUP
from ocr_ray.dataset.plan import MANIFEST
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import Location, open_file, read_json
from ocr_ray.text.characters import CLASSES, classify

SPLIT = "train"
MAX_LINES = 2_000
MAX_GROUPS = 125
NUM_CHARACTERS = 30
"""How many of the most over- and under-represented characters are named."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MEASURES = ("length", "text_height_px", "ink_grey", "paper_grey", "aspect")
"""length: characters; ink_grey and paper_grey: the 5th and the 95th percentile of an image's grey values;
aspect: width_px : height_px."""


@dataclass(slots=True)
class Sample:
    """What is measured of some lines."""

    balance: TextStatistics = field(default_factory=TextStatistics)
    measures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})

    def add(self, line: TextLine) -> None:
        self.balance.add(line)
        with Image.open(io.BytesIO(line.image_bytes)) as image:
            pixels = np.asarray(image.convert("L"))
        ink, paper = np.percentile(pixels, (5, 95), method="nearest")
        values = (
            len(line.text),
            measure_text_height(pixels, line.height_px),
            float(ink),
            float(paper),
            line.width_px / line.height_px,
        )
        for name, value in zip(MEASURES, values, strict=True):
            self.measures[name].append(value)

    def share(self, char: str) -> float:
        """Return the share of a character among all."""
        return self.balance.characters[char] / self.balance.characters.total()


def measure_text_height(pixels: np.ndarray, height_px: int) -> float:
    """Return how high the ink of a line was, in px, when the line was `height_px` high.

    Rows with ink are counted: those with a pixel darker than half-way between the image's darkest pixel and
    its paper, the 95th percentile. A rule or a neighbour's ink at an edge counts, white space between rows
    does not. `pixels`: 8-bit grey, (height, width) as stored.
    """
    darkest, paper = float(pixels.min()), float(np.percentile(pixels, 95, method="nearest"))
    has_ink = (pixels < (darkest + paper) / 2).any(axis=1)
    return float(has_ink.mean()) * height_px


def compare_lines(real: Location, synthetic: Location) -> dict[str, Any]:
    """Return the shares, quantiles and characters in which synthetic lines differ from real ones.

    Raises:
        InputError: one has no lines in its train split.
    """
    samples = {"real": measure_lines(real), "synthetic": measure_lines(synthetic)}
    classes = {name: _count_classes(sample.balance) for name, sample in samples.items()}
    over, under = _rank_characters(**samples)
    known = read_json(synthetic / MANIFEST)["balance"]["characters"]
    characters = samples["real"].balance.characters
    return {
        "lines": {name: sample.balance.lengths.total() for name, sample in samples.items()},
        "quantiles": list(QUANTILES),
        **{
            measure: {
                name: np.quantile(sample.measures[measure], QUANTILES).round(2).tolist()
                for name, sample in samples.items()
            }
            for measure in MEASURES
        },
        "classes": {kind: {name: classes[name][kind] for name in samples} for kind in CLASSES},
        "over_represented": over,
        "under_represented": under,
        "lacking": [char for char, _ in characters.most_common() if char not in known],
    }


def measure_lines(place: Location) -> Sample:
    """Return what is measured of some lines of a dataset's train split.

    Raises:
        InputError: there are none.
    """
    sample = Sample()
    for line in _iter_some_lines(place):
        sample.add(line)
    if not sample.balance.characters:
        raise InputError(f"lines to be compared must stand in {SPLIT}/, {place} has none")
    return sample


def _iter_some_lines(place: Location) -> Iterator[TextLine]:
    manifest = read_json(place / MANIFEST)
    groups = [
        (part["path"], group)
        for part in manifest["parts"]
        if part["path"].startswith(f"{SPLIT}/")
        for group in range(-(-part["rows"] // ROWS_PER_GROUP))
    ]
    random = keyed_generator(int(manifest["config_sha256"][:15], 16), "compared lines", 0)
    chosen = sorted(random.permutation(len(groups))[:MAX_GROUPS].tolist())
    for rank, index in enumerate(chosen):
        path, group = groups[index]
        with open_file(place / path) as file:
            table = pq.ParquetFile(file, pre_buffer=True).read_row_group(group)
        share = MAX_LINES * (rank + 1) // len(chosen) - MAX_LINES * rank // len(chosen)
        rows = sorted(random.permutation(table.num_rows)[:share].tolist())
        yield from table_to_lines(table.take(rows))


def _count_classes(balance: TextStatistics) -> dict[str, float]:
    """Return the share of each class of characters."""
    shares = dict.fromkeys(CLASSES, 0.0)
    for char, count in balance.characters.items():
        shares[classify(char)] += count / balance.characters.total()
    return {name: round(share, 4) for name, share in shares.items()}


def _rank_characters(real: Sample, synthetic: Sample) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the characters that synthetic lines have most too often, and too rarely.

    Ranked by how many standard errors the two shares differ, so that chance ranks low.
    """
    counted = {"real": real.balance.characters, "synthetic": synthetic.balance.characters}
    num_real, num_synthetic = (characters.total() for characters in counted.values())
    ranked = []
    for char in sorted(counted["real"].keys() | counted["synthetic"].keys()):
        pooled = (counted["real"][char] + counted["synthetic"][char]) / (num_real + num_synthetic)
        spread = math.sqrt(pooled * (1 - pooled) * (1 / num_real + 1 / num_synthetic)) or 1.0
        ranked.append(((synthetic.share(char) - real.share(char)) / spread, char))
    ranked.sort()

    def describe(chars: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"character": c, "real": round(real.share(c), 5), "synthetic": round(synthetic.share(c), 5)}
            for c in chars
        ]

    over = [char for score, char in reversed(ranked) if score > 0][:NUM_CHARACTERS]
    under = [char for score, char in ranked if score < 0][:NUM_CHARACTERS]
    return describe(over), describe(under)


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """Return a comparison as a table to be read."""
    lines = [
        f"{'':16}"
        + "".join(f"{f'{name}: {number} lines':>46}" for name, number in _sides(comparison["lines"]))
    ]
    head = "".join(f"{f'{quantile:.0%}':>9}" for quantile in comparison["quantiles"])
    lines.append(f"{'quantiles':16}{head:>46}{head:>46}")
    for measure in MEASURES:
        cells = ("".join(f"{value:>9.2f}" for value in values) for _, values in _sides(comparison[measure]))
        lines.append(f"{measure:16}" + "".join(f"{row:>46}" for row in cells))
    lines.append("share of characters")
    for kind, shares in comparison["classes"].items():
        lines.append(f"{kind:16}" + "".join(f"{share:>46.2%}" for _, share in _sides(shares)))
    for key in ("over_represented", "under_represented"):
        named = (f"{c['character']!r} {c['real']:.2%} {c['synthetic']:.2%}" for c in comparison[key])
        lines.append(f"{key} (real, synthetic): {'  '.join(named)}")
    lines.append(f"lacking: {' '.join(comparison['lacking']) or 'none'}")
    return "\n".join(lines)


def _sides(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(side, values[side]) for side in ("real", "synthetic")]
