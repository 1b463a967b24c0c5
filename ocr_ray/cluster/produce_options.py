"""Options for producing parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from ocr_ray.dataset.lines import PartRow, PartSpec

PartMaker = Callable[[Any, PartSpec], Iterator[PartRow]]
"""(shared inputs, part) -> its lines and rejects, in order, and counts; a pure function."""
Verification = Literal["footers", "rows"]


@runtime_checkable
class NamesItems(Protocol):
    """Shared inputs that can name an item of a part, such as a page."""

    def name_item(self, split: str, number: int) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProduceOptions:
    """How parts are made; their content does not depend on it."""

    num_cpus: int | None = None
    """Maximum number of parts made in parallel; None: the number of CPUs of the cluster."""
    use_gpu: bool = False
    """Make parts in workers with a GPU each, as many as the cluster has or can start."""
    verify: Verification = "footers"
    max_reject_fraction: float = 0.01

    def __post_init__(self) -> None:
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ValueError(f"num_cpus must be at least 1, got {self.num_cpus}")
        if not 0 <= self.max_reject_fraction <= 1:
            raise ValueError(f"max_reject_fraction must be from 0 to 1, got {self.max_reject_fraction}")
