"""Options for reading with a model: precision, beams, batch size."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""fp32; tf32: fp32 with matrix products in TensorFloat-32 on NVIDIA GPUs; bf16 and fp16: autocast."""
PrecisionChoice = Literal["auto", "fp32", "tf32", "bf16", "fp16"]
Capability = tuple[int, int]
"""The compute capability of an NVIDIA GPU, such as (9, 0)."""
BF16_CAPABILITY: Capability = (8, 0)
"""The least that has bf16 and TF32: Ampere."""


def choose_precision(capability: Capability | None) -> Precision:
    """Return the precision that `auto` stands for on a GPU, or on a CPU if `capability` is None."""
    if capability is None:
        return "fp32"
    return "bf16" if capability >= BF16_CAPABILITY else "fp16"


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
    """Threads that decode images; None: two on a CPU, on a GPU one per CPU, up to 16."""


GREEDY = Decoding()
