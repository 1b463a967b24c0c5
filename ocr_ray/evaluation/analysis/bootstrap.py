"""How far a rate would move with other pages: 95 % intervals by bootstrap, for one model and for two.

Lines of a page share their print and their sentence, so that pages are drawn again and not lines (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13); a line without a page stands for
itself. Where nothing at all went wrong the interval is [0, 0], although the next page may hold an error.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ocr_ray.metrics import COLUMNS, Counts
from ocr_ray.randomness import keyed_generator

FloatArray = npt.NDArray[np.float64]

NUM_RESAMPLES = 1_000
INTERVAL_PERCENT = (2.5, 97.5)
_CHARACTERS = ("character_hits", "character_substitutions", "character_deletions")
_WORDS = ("word_hits", "word_substitutions", "word_deletions")
RATE_PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cer": ((*_CHARACTERS[1:], "character_insertions"), _CHARACTERS),
    "wer": ((*_WORDS[1:], "word_insertions"), _WORDS),
    "character_accuracy": (("character_hits",), _CHARACTERS),
    "exact_match": (("exact",), ("lines",)),
}
"""The counts that a rate is the quotient of: the sum of the first over the sum of the second."""
_MAX_CELLS = 4_000_000
"""Weights held at once, 8 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far a rate lies above that of a baseline on the same lines; None where either is over nothing."""

    difference: float | None
    low: float | None
    high: float | None
    """Both ends are None with fewer than two pages as well: nothing is known about other pages."""
    p_value: float | None
    """Two-sided, at least 2 / (resamples + 1); 1 where no line differs. None like the ends."""


def number_clusters(datasets: pa.ChunkedArray, page_ids: pa.ChunkedArray) -> Counts:
    """Return the number of each line's page, from 0; a line without a page has a number of its own."""
    if not len(page_ids):
        return np.zeros(0, dtype=np.int64)
    # The length of the name keeps ("a", "b/c") and ("a/b", "c") apart.
    lengths = pc.cast(pc.binary_length(datasets), pa.string())
    names = pc.binary_join_element_wise(lengths, datasets, page_ids, "/").combine_chunks()
    codes = pc.fill_null(names.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False)
    numbers = np.asarray(codes, dtype=np.int64)
    alone = numbers < 0
    numbers[alone] = numbers.max() + 1 + np.arange(alone.sum())
    return numbers


def sum_clusters(counts: Counts, clusters: Counts) -> Counts:
    """Return the sums of the lines of each page: N, C and N give K, C; pages in the order of their number."""
    names, places = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(names), counts.shape[1]), dtype=np.int64)
    np.add.at(sums, places, counts)
    return sums


def rate_parts(counts: Counts, rate: str) -> Counts:
    """Return what a rate divides, of each row of counts: N, COLUMNS gives N, 2."""
    over, under = RATE_PARTS[rate]
    parts = [counts[:, [COLUMNS.index(name) for name in names]].sum(axis=1) for names in (over, under)]
    return np.stack(parts, axis=1)


def describe_intervals(counts: Counts, clusters: Counts) -> dict[str, list[float] | None]:
    """Return the ends of every rate's interval as an entry of the report keeps them, `{"cer": [low, high]}`.

    Counts and page of each line: N, COLUMNS and N.
    """
    pages = sum_clusters(counts, clusters)
    return {rate: find_interval(rate_parts(pages, rate)) for rate in RATE_PARTS}


def describe_slices(
    counts: Counts, clusters: Counts, names: Mapping[str, Sequence[str | None]]
) -> dict[str, dict[str, dict[str, list[float] | None]]]:
    """Return `describe_intervals` of every slice: `{"by_font": {"바탕": {"cer": [low, high]}}}`.

    Of each family the name of each line's slice; None: it is in none.
    """
    return {
        family: {
            name: describe_intervals(counts[rows], clusters[rows])
            for name, rows in group_rows(of_lines).items()
        }
        for family, of_lines in names.items()
    }


def group_rows(names: Sequence[str | None]) -> dict[str, list[int]]:
    """Return the places of each name, names in their order; None is no name."""
    rows = defaultdict(list)
    for row, name in enumerate(names):
        if name is not None:
            rows[name].append(row)
    return dict(sorted(rows.items()))


def find_interval(pages: Counts, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> list[float] | None:
    """Return the ends of the interval of the rate of pages, each with what it divides and by what: K, 2.

    None where there is nothing to divide by, or fewer than two pages: nothing is known about other pages.
    """
    if not len(pages):
        return None
    rates = _divide(resample_sums(pages, seed=seed, num_resamples=num_resamples))
    return _find_ends(rates, len(pages))


def rate_difference(
    pages: Counts, baseline: Counts, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Difference:
    """Return how far the rate of pages lies above that of a baseline on the same pages: K, 2 and K, 2.

    Both are drawn together, so that a page that is hard for both counts for neither.

    Raises:
        ValueError: these are not the same pages.
    """
    if pages.shape != baseline.shape:
        raise ValueError(f"both models need the same pages, got {len(pages)} and {len(baseline)}")
    both = np.concatenate([pages, baseline], axis=1)
    total = _subtract(both.sum(axis=0, keepdims=True))
    if not total.size:
        return Difference(difference=None, low=None, high=None, p_value=None)
    differences = _subtract(resample_sums(both, seed=seed, num_resamples=num_resamples))
    low, high = _find_ends(differences, len(pages)) or (None, None)
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    p_value = min(1.0, 2 * (1 + int(beyond)) / (1 + len(differences)))
    return Difference(
        difference=float(total[0]), low=low, high=high, p_value=None if low is None else p_value
    )


def resample_sums(pages: Counts, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> FloatArray:
    """Return sums over as many pages as there are, drawn with replacement: K, C gives num_resamples, C.

    Pages with the same counts are one kind, and only how often each kind is drawn matters; so the pages' own
    order does not, and 100,000 lines cost no more than the few thousand kinds of them.
    """
    kinds, multiplicities = np.unique(pages, axis=0, return_counts=True)
    generator = keyed_generator(seed, "bootstrap", 0)
    sums = np.empty((num_resamples, pages.shape[1]))
    step = max(1, _MAX_CELLS // len(kinds))
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        drawn = generator.multinomial(len(pages), multiplicities / len(pages), size=size)
        sums[start : start + size] = drawn.astype(np.float64) @ kinds.astype(np.float64)
    return sums


def _divide(sums: Counts | FloatArray) -> FloatArray:
    """Return the rates of those rows that have something to divide by: N, 2 gives at most N."""
    kept = sums[sums[:, 1] > 0].astype(np.float64)
    return kept[:, 0] / kept[:, 1]


def _subtract(sums: Counts | FloatArray) -> FloatArray:
    kept = sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)].astype(np.float64)
    return kept[:, 0] / kept[:, 1] - kept[:, 2] / kept[:, 3]


def _find_ends(values: FloatArray, num_pages: int) -> list[float] | None:
    if num_pages < 2 or not values.size:
        return None
    low, high = np.percentile(values, INTERVAL_PERCENT)
    return [float(low), float(high)]
