"""How parts are produced: the options that change nothing in what they hold."""

from dataclasses import dataclass
from typing import Literal

Verification = Literal["footers", "rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProduceOptions:
    """How parts are made; nothing here changes what they hold."""

    num_cpus: int | None = None
    """The most parts made at once; None: as many as the cluster has CPUs."""
    num_gpus: int = 0
    """Workers that hold a GPU each and make the parts, one at a time; 0: no GPU is held."""
    verify: Verification = "footers"
    max_reject_fraction: float = 0.01

    def __post_init__(self) -> None:
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ValueError(f"num_cpus must be at least 1, got {self.num_cpus}")
        if self.num_gpus < 0:
            raise ValueError(f"num_gpus must not be negative, got {self.num_gpus}")
        if not 0 <= self.max_reject_fraction <= 1:
            raise ValueError(f"max_reject_fraction must be from 0 to 1, got {self.max_reject_fraction}")
