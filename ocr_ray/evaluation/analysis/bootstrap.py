"""Cluster bootstrap: 95 % confidence intervals of error rates, and of the difference between two models.

Lines of a page share their print and their sentence, so pages are resampled and not lines (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13); a line without a page is a cluster of
one. Resampling says nothing about a rate of 0 or 1, since every sample has the same: such a rate has the
interval of Wilson (1927), as if its characters, words or lines were independent.
"""

import math
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
RATES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cer": ((*_CHARACTERS[1:], "character_insertions"), _CHARACTERS),
    "wer": ((*_WORDS[1:], "word_insertions"), _WORDS),
    "character_accuracy": (("character_hits",), _CHARACTERS),
    "exact_match": (("exact",), ("lines",)),
}
"""Columns of the numerator and of the denominator of each rate; each is a sum of columns."""
_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
_MAX_CELLS = 4_000_000
"""Weights in memory at a time, 8 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference of a rate to that of a baseline on the same lines; None if a denominator is 0."""

    difference: float | None
    low: float | None
    high: float | None
    """Both ends are also None with fewer than two pages."""
    p_value: float | None
    """Two-sided, at least 2 / (resamples + 1); 1 if no line differs. None if the ends are."""


def number_clusters(datasets: pa.ChunkedArray, page_ids: pa.ChunkedArray) -> Counts:
    """Return the cluster number of each line, from 0: one for each page, and for each line without a page."""
    if not len(page_ids):
        return np.zeros(0, dtype=np.int64)
    # The length of the dataset name distinguishes ("a", "b/c") from ("a/b", "c").
    lengths = pc.cast(pc.binary_length(datasets), pa.string())
    names = pc.binary_join_element_wise(lengths, datasets, page_ids, "/").combine_chunks()
    codes = pc.fill_null(names.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False)
    numbers = np.asarray(codes, dtype=np.int64)
    is_single = numbers < 0
    numbers[is_single] = numbers.max() + 1 + np.arange(is_single.sum())
    return numbers


def sum_clusters(counts: Counts, clusters: Counts) -> Counts:
    """Return the sums of each cluster in order of its number: (N, C) and (N,) give (K, C)."""
    numbers, indices = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(numbers), counts.shape[1]), dtype=np.int64)
    np.add.at(sums, indices, counts)
    return sums


def rate_terms(counts: Counts, rate: str) -> Counts:
    """Return numerator and denominator of a rate for each row of counts: (N, `COLUMNS`) gives (N, 2)."""
    terms = [counts[:, [COLUMNS.index(name) for name in names]].sum(axis=1) for names in RATES[rate]]
    return np.stack(terms, axis=1)


def describe_intervals(counts: Counts, clusters: Counts) -> dict[str, list[float] | None]:
    """Return the interval of every rate, `{"cer": [low, high]}`.

    `counts` has shape (N, `COLUMNS`), `clusters` (N,).
    """
    pages = sum_clusters(counts, clusters)
    return {rate: find_interval(rate_terms(pages, rate)) for rate in RATES}


def describe_slice_intervals(
    counts: Counts, clusters: Counts, names: Mapping[str, Sequence[str | None]]
) -> dict[str, dict[str, dict[str, list[float] | None]]]:
    """Return the intervals of every slice: `{"by_font": {"바탕": {"cer": [low, high]}}}`.

    `names`: the slice of each line by family, None if unknown.
    """
    return {
        family: {
            name: describe_intervals(counts[rows], clusters[rows])
            for name, rows in group_rows(line_names).items()
        }
        for family, line_names in names.items()
    }


def group_rows(names: Sequence[str | None]) -> dict[str, list[int]]:
    """Return the rows of each name, sorted by name; None is left out."""
    rows = defaultdict(list)
    for row, name in enumerate(names):
        if name is not None:
            rows[name].append(row)
    return dict(sorted(rows.items()))


def find_interval(pages: Counts, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> list[float] | None:
    """Return the ends of the interval of a rate from numerator and denominator of each page, (K, 2).

    None if the denominator is 0, or with fewer than two pages.
    """
    if not len(pages):
        return None
    over, under = pages.sum(axis=0).tolist()
    if under and len(pages) > 1 and (not over or (pages[:, 0] == pages[:, 1]).all()):
        return list(find_wilson_interval(over, under))
    rates = _divide(resample_sums(pages, seed=seed, num_resamples=num_resamples))
    return _find_ends(rates, len(pages))


def find_wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion; `hits` of at least one trial, all independent.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    share, spread = hits / trials, _Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return (centre - half if hits else 0.0), (centre + half if hits < trials else 1.0)


def rate_difference(
    pages: Counts, baseline: Counts, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Difference:
    """Return the rate minus that of a baseline on the same pages, each (K, 2): a paired bootstrap.

    Both models are resampled together, so a page that is hard for both favours neither.

    Raises:
        ValueError: the numbers of pages differ.
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
    """Return sums over K pages drawn with replacement: (K, C) gives (num_resamples, C).

    Pages with equal counts are drawn as one kind with its multiplicity. The result does not depend on the
    order of the pages, and 100,000 lines cost no more than their few thousand kinds.
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
    """Return the rates of the rows with a positive denominator: (N, 2) gives at most N."""
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
