"""How much of what a model reads has context, and how much has not.

Context-free are words, arithmetic, mixed and spliced lines, and lines of any source that is not named here:
what stands before a word tells nothing of the word. Contextual are lines of pages, sentences, and whatever
the model was pre-trained on. Too few context-free lines and a model goes on inventing the tails of lines; too
many and it stops using context where that helps: 0.3 to 0.5 of the contextual ones is the rule of thumb.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ocr_ray.dataset.lines import PartStats
from ocr_ray.errors import InputError
from ocr_ray.training.feed.row_groups import Split

CONTEXTUAL_SOURCES = frozenset({"page", "sentence"})
MAX_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """What the datasets of a run hold, and what of it is trained on."""

    context_free_lines: int
    contextual_lines: int
    """Of the datasets, without those of the pre-training."""
    pretraining_lines: int
    ratio: float | None
    """Context-free lines over contextual ones, those of the pre-training included; None without these."""
    trained_share: float
    """Context-free lines among all lines trained on, from 0 to 1."""
    share_by_dataset: dict[str, float]
    """Among all lines trained on; the sum is 1. So is that of `share_by_source`."""
    share_by_source: dict[str, float]

    @property
    def text(self) -> str:
        """What the mixture is, for a log and a card."""
        known = f"{self.contextual_lines:,} contextual ones"
        if self.pretraining_lines:
            known += f" and {self.pretraining_lines:,} of the pre-training"
        ratio = "no ratio" if self.ratio is None else f"ratio {self.ratio:.3f}"
        return (
            f"{self.context_free_lines:,} context-free lines to {known}: {ratio}. "
            f"Of the lines trained on {100 * self.trained_share:.1f} % are context-free; "
            f"by dataset: {_list_shares(self.share_by_dataset)}; "
            f"by source: {_list_shares(self.share_by_source)}."
        )

    @property
    def warning(self) -> str | None:
        """What is wrong with it, if anything."""
        if self.ratio is not None and self.ratio <= MAX_RATIO:
            return None
        found = "no line has context" if self.ratio is None else f"the ratio is {self.ratio:.3f}"
        return (
            f"context-free lines should be at most {MAX_RATIO} of the contextual ones, {found}: a model may "
            "stop using context where that helps. Render fewer lines, add labelled ones, or count in with "
            f"--pretraining-lines what the model has read before ({self.pretraining_lines:,} now)"
        )


def count_sources(split: Split) -> dict[str, int]:
    """Return how many lines of a split are of each source, as the footers of its parts say.

    Raises:
        InputError: a footer does not say it.
    """
    footers = {group.part.path: (group.part, group.footer) for group in split.row_groups}
    counts: Counter[str] = Counter()
    for part, footer in footers.values():
        try:
            counts.update(PartStats.from_json((footer.metadata or {})[b"part_stats"].decode()).by_source)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"a part must say in its footer what it holds, as render_lines and crop_pages write it, "
                f"{part} does not: make its dataset again"
            ) from error
    return dict(sorted(counts.items()))


def describe_mixture(
    by_source: Mapping[str, Mapping[str, int]],
    shares: Mapping[str, float] | None = None,
    *,
    pretraining_lines: int = 0,
) -> Mixture:
    """Return the mixture of datasets whose train lines are counted by source in `by_source`.

    `shares` are those of the datasets among the lines trained on, of any sum; None: every line counts once.

    Raises:
        ValueError: there are no lines, or `shares` are not of these datasets, or give one without lines some.
    """
    if pretraining_lines < 0:
        raise ValueError(f"pretraining_lines must not be negative, got {pretraining_lines}")
    num_lines = {name: sum(counts.values()) for name, counts in by_source.items()}
    by_dataset = _normalise(num_lines if shares is None else shares, num_lines)
    total: Counter[str] = Counter()
    share_by_source: dict[str, float] = {}
    for name, counts in by_source.items():
        total.update(counts)
        for source, count in counts.items():
            share = by_dataset[name] * count / max(1, num_lines[name])
            share_by_source[source] = share_by_source.get(source, 0.0) + share
    contextual = sum(total[source] for source in CONTEXTUAL_SOURCES)
    context_free = total.total() - contextual
    known = contextual + pretraining_lines
    return Mixture(
        context_free_lines=context_free,
        contextual_lines=contextual,
        pretraining_lines=pretraining_lines,
        ratio=context_free / known if known else None,
        trained_share=sum(
            share for source, share in share_by_source.items() if source not in CONTEXTUAL_SOURCES
        ),
        share_by_dataset=by_dataset,
        share_by_source=dict(sorted(share_by_source.items())),
    )


def _normalise(shares: Mapping[str, float], num_lines: Mapping[str, int]) -> dict[str, float]:
    """Return shares whose sum is 1, in the order of the datasets."""
    if shares.keys() != num_lines.keys():
        raise ValueError(
            f"shares must be of the datasets {', '.join(num_lines)}, got those of {', '.join(shares)}"
        )
    total = sum(shares.values())
    if not all(0 <= share < math.inf for share in shares.values()) or total <= 0:
        raise ValueError(f"shares must be 0 or more and not all 0, got {dict(shares)}")
    if empty := [name for name, share in shares.items() if share and not num_lines[name]]:
        raise ValueError(f"a dataset without lines must have no share, got one for {', '.join(empty)}")
    return {name: shares[name] / total for name in num_lines}


def _list_shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
