"""Options for reading with a model: precision, beams, batch size."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""fp32; tf32: fp32 with matrix products in TensorFloat-32 on NVIDIA GPUs; bf16 and fp16: autocast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Decoding options."""

    batch_size: int = 16
    """Lines per batch; changes at most the last bits of a confidence."""
    num_beams: int = 1
    """1: greedy decoding."""
    precision: Precision = "fp32"
    max_aspect: float | None = None
    """Lines wider than this many times their height are also read in pieces."""


GREEDY = Decoding()
