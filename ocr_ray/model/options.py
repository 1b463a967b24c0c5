"""Options for reading with a model: precision, beams, batch size."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""fp32; tf32: fp32 with matrix products in TensorFloat-32 on NVIDIA GPUs; bf16 and fp16: autocast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Decoding options."""

    batch_size: int | None = None
    """Lines per batch; changes at most the last bits of a confidence. None: 16 on a CPU; 512 on a GPU, or
    what its memory allows, and with beams that many beams."""
    num_beams: int = 1
    """1: greedy decoding."""
    precision: Precision = "fp32"
    max_aspect: float | None = None
    """Lines wider than this many times their height are also read in pieces."""
    threads: int | None = None
    """Threads that decode images; None: two on a CPU, on a GPU one per CPU of the process."""


GREEDY = Decoding()
