"""The flags of audit_lines."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedConfig:
    """Where inputs are that have moved since; --rerender checks that they are the same."""

    corpus_uri: str | None = None
    """The corpus; None: where plan.json says."""
    texts_uri: str | None = None
    """The dataset whose texts were drawn again; None: where plan.json says."""
    lengths_like: str | None = None
    """The dataset whose lengths were followed; None: where plan.json says."""
    pictures_uri: str | None = None
    """The pictures behind the lines; None: where plan.json says."""
    model: str | None = None
    """The model whose tokenizer was asked; None: as plan.json says."""
    focus: str | None = None
    """The report whose misread characters the lines were focused on; None: where plan.json says."""
    fonts_uri: str | None = None
    """The folder of fonts; None: where plan.json says."""
    fonts: tuple[str, ...] = ()
    """The fonts in their order, where some were given as files; none: as plan.json says."""
    holdout_fonts: tuple[str, ...] = ()
    """Those of the test split, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """Check that a dataset is whole and what its plan says."""

    lines_uri: str
    """The dataset: rendered lines, or crops."""
    rerender: int = 0
    """Rendered lines drawn at random, the same each time, to be rendered again and compared byte for byte;
    of a part whose digest is wrong, all."""
    compare: str | None = None
    """Dataset of real lines to put side by side with these: characters, lengths, height, contrast."""
    moved: Annotated[MovedConfig, tyro.conf.arg(name="")] = field(default_factory=MovedConfig)
    num_cpus: int | None = None
    """The most CPUs used; None: all of this machine or cluster."""

    def __post_init__(self) -> None:
        if self.rerender < 0:
            raise ValueError(f"rerender must not be negative, got {self.rerender}")
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ValueError(f"num_cpus must be at least 1, got {self.num_cpus}")
