"""The arms of an experiment: models that differ only in the lines they are trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ocr_ray.errors import InputError

Added = Literal["text", "words", "spliced", "words_spliced"]
SOURCES: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "words": ("words",),
    "spliced": ("spliced",),
    "words_spliced": ("words", "spliced"),
}
"""The datasets whose lines are added to those of pages, in equal shares."""
LABELS: Mapping[str, str] = {
    "text": "running text",
    "words": "words",
    "spliced": "spliced lines",
    "words_spliced": "words and spliced lines",
}
PAGES = "pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Lines of pages, alone or with others."""

    added: Added | None = None
    """None: pages alone."""
    ratio: float = 0.0
    """Added lines per line of pages."""

    @property
    def name(self) -> str:
        """The name in files and reports."""
        return f"{self.added}-{self.ratio:g}" if self.added else PAGES

    @property
    def label(self) -> str:
        """A description for people."""
        return f"pages with {LABELS[self.added]}, ratio {self.ratio:g}" if self.added else "pages alone"

    @property
    def is_context_free(self) -> bool:
        """Whether the added lines have no context."""
        return self.added not in (None, "text")

    def weigh(self, counts: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
        """Return the mixture weight of each dataset; they sum to 1.

        `counts` are the train lines of each dataset by source. The dataset `spliced` holds the lines of pages
        as well, so its weight is larger than the share of its spliced lines, and that of `pages` smaller.

        Raises:
            InputError: there are too few spliced lines for the ratio.
        """
        page_share = 1 / (1 + self.ratio)
        weights: dict[str, float] = {}
        sources = SOURCES[self.added] if self.added else ()
        for source in sources:
            share = self.ratio * page_share / len(sources)
            if source == "spliced":
                num_spliced = counts[source].get("spliced", 0)
                from_pages = share * counts[source].get("page", 0) / max(1, num_spliced)
                if not num_spliced or from_pages >= page_share:
                    raise InputError(
                        f"--num-lines must give more spliced lines than {self.ratio:g} for each of the "
                        f"{counts[source].get('page', 0)} lines of pages, got {num_spliced}; raise it"
                    )
                weights[source], page_share = share + from_pages, page_share - from_pages
            else:
                weights[source] = share
        return {PAGES: page_share, **weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The training of an arm with one seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm.name}-seed{self.seed}"


def list_arms(added: Sequence[Added], ratios: Sequence[float]) -> list[Arm]:
    """Return pages alone, and each kind of added lines at each ratio."""
    return [Arm(), *(Arm(added=kind, ratio=ratio) for kind in added for ratio in ratios)]
