"""Comparison of real and synthetic lines: their characters, lengths and looks.

Up to 2,000 lines of each train split are measured, the same each time: random lines of random row groups, so
that few groups are read. Characters are missing in synthetic lines if the whole dataset lacks them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ocr_ray.audit.nearer import MEASURED_STYLES, find_nearer_flags
from ocr_ray.cli.flags import write_arguments
from ocr_ray.dataset.images import open_line_image
from ocr_ray.dataset.lines import TextLine, table_to_lines
from ocr_ray.dataset.manifest import read_manifest
from ocr_ray.dataset.stored_rows import read_footers, read_group
from ocr_ray.dataset.text_statistics import TextStatistics
from ocr_ray.errors import InputError
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import Location
from ocr_ray.storage.strict_json import parse_json
from ocr_ray.text.characters import CLASSES, classify

SPLIT = "train"
MAX_LINES = 2_000
MAX_GROUPS = 125
NUM_CHARACTERS = 30
"""Number of over- and of under-represented characters that are listed."""
NUM_BINS = 24
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MEASURES = ("length", "text_height_px", "ink_grey", "paper_grey", "aspect")
"""length: characters; ink_grey and paper_grey: the 5th and the 95th percentile of an image's grey values;
aspect: width_px : height_px."""


@dataclass(slots=True)
class LineSample:
    """Text statistics and measures of a sample of lines."""

    texts: TextStatistics = field(default_factory=TextStatistics)
    styles: list[dict[str, Any]] = field(default_factory=list)
    """Of lines that were drawn with one."""
    measures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})

    def add(self, line: TextLine) -> None:
        self.texts.add(line)
        style = parse_json(line.style) if line.style else {}
        if style.keys() >= set(MEASURED_STYLES.values()):
            self.styles.append(style)
        pixels = np.asarray(open_line_image(line.image_bytes, f"line {line.line_id}").convert("L"))
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
        """Return the share of a character among all characters."""
        return self.texts.characters[char] / self.texts.characters.total()


def measure_text_height(pixels: np.ndarray, height_px: int) -> float:
    """Return the height of the ink in a line, in px of the line before it was resized, `height_px` high.

    A row has ink if a pixel is darker than the middle between the darkest pixel and the paper, the 95th
    percentile. Rules and ink of neighbouring lines at the edges count, white space between rows does not.
    `pixels`: 8-bit grey, (height, width) as stored.
    """
    darkest, paper = float(pixels.min()), float(np.percentile(pixels, 95, method="nearest"))
    has_ink = (pixels < (darkest + paper) / 2).any(axis=1)
    return float(has_ink.mean()) * height_px


def compare_lines(real: Location, synthetic: Location) -> dict[str, Any]:
    """Return quantiles, histograms, shares and characters of both, and flags for nearer synthetic lines.

    Raises:
        InputError: one of the datasets has no lines in its train split.
    """
    samples = {"real": measure_lines(real), "synthetic": measure_lines(synthetic)}
    classes = {name: _class_shares(sample.texts) for name, sample in samples.items()}
    over, under = _rank_characters(**samples)
    known = read_manifest(synthetic).balance["characters"]
    characters = samples["real"].texts.characters
    return {
        "lines": {name: sample.texts.lengths.total() for name, sample in samples.items()},
        "quantiles": list(QUANTILES),
        "histograms": {
            measure: make_histogram({name: sample.measures[measure] for name, sample in samples.items()})
            for measure in MEASURES
        },
        "nearer": find_nearer_flags(
            samples["real"].measures,
            samples["synthetic"].measures,
            samples["synthetic"].styles,
            real_uri=real.uri,
        ),
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


def make_histogram(values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return the edges of bins, and the share of each dataset in each; the ends hold what is beyond."""
    pooled = np.concatenate(list(values.values()))
    low, high = np.quantile(pooled, (0.005, 0.995))
    edges = np.linspace(low, max(high, low + 1e-6), NUM_BINS + 1)
    counts = {
        name: np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)[0]
        for name, numbers in values.items()
    }
    return {
        "edges": edges.round(4).tolist(),
        **{name: (count / count.sum()).round(4).tolist() for name, count in counts.items()},
    }


def measure_lines(dataset: Location) -> LineSample:
    """Return the measures of a sample of a dataset's train split.

    Raises:
        InputError: it has no lines.
    """
    sample = LineSample()
    for line in _iter_sample(dataset):
        sample.add(line)
    if not sample.texts.characters:
        raise InputError(f"lines to compare must be in {SPLIT}/, {dataset} has none")
    return sample


def _iter_sample(dataset: Location) -> Iterator[TextLine]:
    manifest = read_manifest(dataset)
    parts = [dataset / part["path"] for part in manifest.parts if part["path"].startswith(f"{SPLIT}/")]
    groups = [
        (part, group, footer)
        for part, footer in zip(parts, read_footers(parts), strict=True)
        for group in range(footer.num_row_groups)
    ]
    random = keyed_generator(int(manifest.config_sha256[:15], 16), "compared lines", 0)
    chosen = sorted(random.permutation(len(groups))[:MAX_GROUPS].tolist())
    for rank, index in enumerate(chosen):
        part, group, footer = groups[index]
        table = read_group(part, group, footer=footer)
        num_lines = MAX_LINES * (rank + 1) // len(chosen) - MAX_LINES * rank // len(chosen)
        rows = sorted(random.permutation(table.num_rows)[:num_lines].tolist())
        yield from table_to_lines(table.take(rows))


def _class_shares(texts: TextStatistics) -> dict[str, float]:
    """Return the share of each class of characters."""
    shares = dict.fromkeys(CLASSES, 0.0)
    for char, count in texts.characters.items():
        shares[classify(char)] += count / texts.characters.total()
    return {name: round(share, 4) for name, share in shares.items()}


def _rank_characters(
    real: LineSample, synthetic: LineSample
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the most over-represented and the most under-represented characters of synthetic lines.

    Ranked by the difference of the two shares in standard errors, so that differences by chance rank low.
    """
    counts = {"real": real.texts.characters, "synthetic": synthetic.texts.characters}
    num_real, num_synthetic = (characters.total() for characters in counts.values())
    ranked = []
    for char in sorted(counts["real"].keys() | counts["synthetic"].keys()):
        pooled = (counts["real"][char] + counts["synthetic"][char]) / (num_real + num_synthetic)
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
    """Return a comparison as a text table."""
    lines = [
        f"{'':16}"
        + "".join(f"{f'{name}: {number} lines':>46}" for name, number in _pairs(comparison["lines"]))
    ]
    head = "".join(f"{f'{quantile:.0%}':>9}" for quantile in comparison["quantiles"])
    lines.append(f"{'quantiles':16}{head:>46}{head:>46}")
    for measure in MEASURES:
        cells = ("".join(f"{value:>9.2f}" for value in values) for _, values in _pairs(comparison[measure]))
        lines.append(f"{measure:16}" + "".join(f"{row:>46}" for row in cells))
    lines.append("share of characters")
    for kind, shares in comparison["classes"].items():
        lines.append(f"{kind:16}" + "".join(f"{share:>46.2%}" for _, share in _pairs(shares)))
    for key in ("over_represented", "under_represented"):
        named = (f"{c['character']!r} {c['real']:.2%} {c['synthetic']:.2%}" for c in comparison[key])
        lines.append(f"{key} (real, synthetic): {'  '.join(named)}")
    lines.append(f"lacking: {' '.join(comparison['lacking']) or 'none'}")
    flags = write_arguments(comparison["nearer"])
    lines.append(f"flags of render_lines for nearer lines: {flags or 'none, they are near'}")
    return "\n".join(lines)


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(side, values[side]) for side in ("real", "synthetic")]
