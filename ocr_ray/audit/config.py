"""The flags of audit_lines."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedConfig:
    """New locations of inputs that have moved; --rerender checks that their content is the same."""

    corpus_uri: str | None = None
    """Folder of the corpus. Default: as in plan.json."""
    texts_uri: str | None = None
    """Dataset that running text was taken from. Default: as in plan.json."""
    lengths_like: str | None = None
    """Dataset whose lengths the lines follow. Default: as in plan.json."""
    pictures_uri: str | None = None
    """Folder of background images. Default: as in plan.json."""
    model: str | None = None
    """Model whose tokenizer limits the characters. Default: as in plan.json."""
    focus: str | None = None
    """report.json that the lines focus on. Default: as in plan.json."""
    fonts_uri: str | None = None
    """Folder of font files. Default: as in plan.json."""
    fonts: tuple[str, ...] = ()
    """All fonts in their order, if font files have moved. Default: as in plan.json."""
    holdout_fonts: tuple[str, ...] = ()
    """All fonts of the test split, if font files have moved. Default: as in plan.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """Check that a dataset is complete and matches its plan."""

    lines_uri: str
    """Dataset to check: rendered lines or crops."""
    rerender: int = 0
    """Random lines to render again and compare byte for byte; parts with a wrong digest, all lines."""
    compare: str | None = None
    """Dataset of real lines to compare with: characters, lengths, height, contrast."""
    out_uri: str | None = None
    """Folder for compare.html, which shows the comparison. Default: it is only logged."""
    moved: Annotated[MovedConfig, tyro.conf.arg(name="")] = field(default_factory=MovedConfig)
    num_cpus: int | None = None
    """Maximum number of CPUs. Default: all of this machine or cluster."""
    dashboard: bool = True
    """Start Ray's dashboard too, if the job starts Ray itself; without it the start is faster."""

    def __post_init__(self) -> None:
        if self.out_uri is not None and self.compare is None:
            raise ValueError("out_uri is the folder for the page of compare, which is not given")
        if self.rerender < 0:
            raise ValueError(f"rerender must not be negative, got {self.rerender}")
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ValueError(f"num_cpus must be at least 1, got {self.num_cpus}")
