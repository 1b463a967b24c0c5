"""The flags of audit_lines."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedConfig:
    """New locations of inputs that have moved; --rerender checks that their content is the same."""

    corpus_uri: str | None = None
    """The corpus; None: as in plan.json."""
    texts_uri: str | None = None
    """The dataset whose texts were rendered again; None: as in plan.json."""
    lengths_like: str | None = None
    """The dataset whose lengths were followed; None: as in plan.json."""
    pictures_uri: str | None = None
    """The background pictures; None: as in plan.json."""
    model: str | None = None
    """The model whose tokenizer was checked; None: as in plan.json."""
    focus: str | None = None
    """The report whose misread characters the lines focus on; None: as in plan.json."""
    fonts_uri: str | None = None
    """The folder of fonts; None: as in plan.json."""
    fonts: tuple[str, ...] = ()
    """The fonts in their order, if some were given as files."""
    holdout_fonts: tuple[str, ...] = ()
    """The fonts of the test split, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """Check that a dataset is complete and matches its plan."""

    lines_uri: str
    """The dataset: rendered lines or crops."""
    rerender: int = 0
    """Number of random lines, the same each time, to render again and compare byte for byte; a part with a
    wrong digest is rendered again as a whole."""
    compare: str | None = None
    """Dataset of real lines to compare with: characters, lengths, height, contrast."""
    moved: Annotated[MovedConfig, tyro.conf.arg(name="")] = field(default_factory=MovedConfig)
    num_cpus: int | None = None
    """Maximum number of CPUs; None: all of this machine or cluster."""

    def __post_init__(self) -> None:
        if self.rerender < 0:
            raise ValueError(f"rerender must not be negative, got {self.rerender}")
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ValueError(f"num_cpus must be at least 1, got {self.num_cpus}")
