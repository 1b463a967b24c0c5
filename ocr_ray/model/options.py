"""How a model reads: precision, beams, batch size."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""fp32: all of it; tf32: products of 10-bit fractions on NVIDIA GPUs; bf16 and fp16: autocast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a model writes what it reads."""

    batch_size: int = 16
    """Lines at once; changes no more than the last bits of a float."""
    num_beams: int = 1
    """1: greedy."""
    precision: Precision = "fp32"
    max_aspect: float | None = None
    """Lines wider than so many times their height are read in pieces as well."""


GREEDY = Decoding()
