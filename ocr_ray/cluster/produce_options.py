"""Options for producing parts."""

from dataclasses import dataclass
from typing import Literal

Verification = Literal["footers", "rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProduceOptions:
    """How parts are made; their content does not depend on it."""

    num_cpus: int | None = None
    """Maximum number of parts made in parallel; None: the number of CPUs of the cluster."""
    num_gpus: int = 0
    """Number of workers with a GPU each, which make one part at a time; 0: no GPUs."""
    verify: Verification = "footers"
    max_reject_fraction: float = 0.01

    def __post_init__(self) -> None:
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ValueError(f"num_cpus must be at least 1, got {self.num_cpus}")
        if self.num_gpus < 0:
            raise ValueError(f"num_gpus must not be negative, got {self.num_gpus}")
        if not 0 <= self.max_reject_fraction <= 1:
            raise ValueError(f"max_reject_fraction must be from 0 to 1, got {self.max_reject_fraction}")
