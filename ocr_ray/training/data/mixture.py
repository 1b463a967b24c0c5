"""The ratio of context-free to contextual lines in the training data.

Words, arithmetic, mixed and spliced lines, and lines of any source not named here, are context-free: no word
can be guessed from the words before it. Lines of pages, sentences, and the lines that the model was
pre-trained on are contextual. With too few context-free lines a model goes on inventing the ends of lines.
With too many it stops using context where that helps. The rule of thumb is 0.3 to 0.5 context-free lines per
contextual one.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ocr_ray.dataset.lines import PartStats
from ocr_ray.errors import InputError
from ocr_ray.training.data.row_groups import Split

CONTEXTUAL_SOURCES = frozenset({"page", "sentence"})
MAX_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The context-free and contextual lines of a run's datasets, and their shares of the lines trained on."""

    context_free_lines: int
    contextual_lines: int
    """In the datasets, without those of the pre-training."""
    pretraining_lines: int
    ratio: float | None
    """Context-free lines per contextual line, pre-training included; None without contextual lines."""
    trained_share: float
    """Share of context-free lines among all lines trained on, from 0 to 1."""
    share_by_dataset: dict[str, float]
    """Shares of all lines trained on; they sum to 1. So do those of `share_by_source`."""
    share_by_source: dict[str, float]

    @property
    def text(self) -> str:
        """A description for logs and model cards."""
        contextual = f"{self.contextual_lines:,} contextual ones"
        if self.pretraining_lines:
            contextual += f" and {self.pretraining_lines:,} of the pre-training"
        ratio = "no ratio" if self.ratio is None else f"ratio {self.ratio:.3f}"
        return (
            f"{self.context_free_lines:,} context-free lines to {contextual}: {ratio}. "
            f"Of the lines trained on {100 * self.trained_share:.1f} % are context-free; "
            f"by dataset: {_list_shares(self.share_by_dataset)}; "
            f"by source: {_list_shares(self.share_by_source)}."
        )

    @property
    def warning(self) -> str | None:
        """A warning if there are too many context-free lines."""
        if self.ratio is not None and self.ratio <= MAX_RATIO:
            return None
        actual = "no line has context" if self.ratio is None else f"the ratio is {self.ratio:.3f}"
        return (
            f"there should be at most {MAX_RATIO} context-free lines per contextual line, {actual}: a model "
            "may stop using context where that helps. Render fewer lines, add labelled ones, or give "
            "--pretraining-lines, the lines that the model was trained on before "
            f"({self.pretraining_lines:,} now)"
        )


def count_sources(split: Split) -> dict[str, int]:
    """Return the number of lines of each source in a split, from the footers of its parts.

    Raises:
        InputError: a footer has no counts.
    """
    footers = {group.part.path: (group.part, group.footer) for group in split.row_groups}
    counts: Counter[str] = Counter()
    for part, footer in footers.values():
        try:
            counts.update(PartStats.from_json((footer.metadata or {})[b"part_stats"].decode()).by_source)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"the footer of a part must hold its part_stats, as render_lines and crop_pages write them, "
                f"{part} has none: make its dataset again"
            ) from error
    return dict(sorted(counts.items()))


def describe_mixture(
    by_source: Mapping[str, Mapping[str, int]],
    weights: Mapping[str, float] | None = None,
    *,
    pretraining_lines: int = 0,
) -> Mixture:
    """Return the mixture of datasets from their numbers of train lines by source.

    `weights` are the mixture weights of the datasets, with any sum; None: every line counts once.

    Raises:
        ValueError: there are no lines, `weights` name other datasets, or an empty dataset has a weight.
    """
    if pretraining_lines < 0:
        raise ValueError(f"pretraining_lines must not be negative, got {pretraining_lines}")
    num_lines = {name: sum(counts.values()) for name, counts in by_source.items()}
    by_dataset = _normalise(num_lines if weights is None else weights, num_lines)
    total: Counter[str] = Counter()
    share_by_source: dict[str, float] = {}
    for name, counts in by_source.items():
        total.update(counts)
        for source, count in counts.items():
            share = by_dataset[name] * count / max(1, num_lines[name])
            share_by_source[source] = share_by_source.get(source, 0.0) + share
    contextual = sum(total[source] for source in CONTEXTUAL_SOURCES)
    context_free = total.total() - contextual
    all_contextual = contextual + pretraining_lines
    return Mixture(
        context_free_lines=context_free,
        contextual_lines=contextual,
        pretraining_lines=pretraining_lines,
        ratio=context_free / all_contextual if all_contextual else None,
        trained_share=sum(
            share for source, share in share_by_source.items() if source not in CONTEXTUAL_SOURCES
        ),
        share_by_dataset=by_dataset,
        share_by_source=dict(sorted(share_by_source.items())),
    )


def _normalise(weights: Mapping[str, float], num_lines: Mapping[str, int]) -> dict[str, float]:
    """Return the weights divided by their sum, in the order of the datasets."""
    if weights.keys() != num_lines.keys():
        raise ValueError(
            f"mixture weights must be given for the datasets {', '.join(num_lines)}, "
            f"got those of {', '.join(weights)}"
        )
    total = sum(weights.values())
    if not all(0 <= weight < math.inf for weight in weights.values()) or total <= 0:
        raise ValueError(f"mixture weights must be 0 or more and not all 0, got {dict(weights)}")
    if empty := [name for name, weight in weights.items() if weight and not num_lines[name]]:
        raise ValueError(f"a dataset without lines must have weight 0, got more for {', '.join(empty)}")
    return {name: weights[name] / total for name in num_lines}


def _list_shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
