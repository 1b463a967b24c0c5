"""What `benchmarks.gpu` measures on: sizes, and the flags of its sides. Loads neither torch nor Ray.

Only this module names the flags of training and reading that differ between the sides.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ocr_ray.model.options import Precision

Device = Literal["cpu", "cuda"]

PEAK_TFLOPS = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H200": 989.0,
    "A100": 312.0,
    "A10G": 70.0,
    "L4": 121.0,
}
"""Peak of a card in bf16, without sparsity, from NVIDIA's data sheets; the first name that fits counts."""


def find_peak_tflops(card: str) -> float | None:
    """Return the peak of a card by the name that its driver gives; None if it is not in the table."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if re.search(rf"\b{name}\b", card)), None)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    model: Literal["tiny", "small"]
    """Of `benchmarks.train_data`."""
    drawn_lines: int
    """Different lines of the dataset."""
    lines: int
    """Lines of the dataset; more than any piece trains on in an epoch."""
    step_batches: tuple[int, ...]
    trainer_batches: tuple[int, ...]
    reading_batches: tuple[int | None, ...]
    """None: the default of the device."""
    encoder_batches: tuple[int, ...]
    profile_batch: int
    warmup_steps: int
    """Not timed; kernels are compiled in them."""
    timed_steps: int
    trainer_steps: int
    turns: int
    """Of each side, where two programs are compared."""
    check_batch: int
    check_steps: int
    sync_batch: int
    """So small that there are over 1,000 steps in `lines`: a hundredth of an epoch is a record."""
    read_lines: int
    """Lines that are read for each batch size."""
    rendered_lines: tuple[int, int]
    """Two sizes, so that the fixed cost is known."""
    job_batch: int


FULL = Sizes(
    model="small",
    drawn_lines=2048,
    lines=24_576,
    step_batches=(16, 64, 128, 256, 512),
    trainer_batches=(64, 128, 256),
    reading_batches=(64, 512, None),
    encoder_batches=(64, 512),
    profile_batch=256,
    warmup_steps=15,
    timed_steps=25,
    trainer_steps=50,
    turns=2,
    check_batch=64,
    check_steps=12,
    sync_batch=16,
    read_lines=2048,
    rendered_lines=(20_000, 200_000),
    job_batch=256,
)
TINY = Sizes(
    model="tiny",
    drawn_lines=16,
    lines=1_200,
    step_batches=(2,),
    trainer_batches=(2,),
    reading_batches=(None,),
    encoder_batches=(2,),
    profile_batch=2,
    warmup_steps=1,
    timed_steps=2,
    trainer_steps=2,
    turns=1,
    check_batch=2,
    check_steps=4,
    sync_batch=1,
    read_lines=8,
    rendered_lines=(40, 80),
    job_batch=4,
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every piece gets."""

    folder: Path
    """Holds the inputs that `benchmarks.gpu_pieces.prepare` makes."""
    device: Device
    is_tiny: bool
    peak_tflops: float | None
    """None: that of the card, if it is known."""

    @property
    def sizes(self) -> Sizes:
        return TINY if self.is_tiny else FULL

    @property
    def precision(self) -> Precision:
        """The precision of measurements."""
        return "bf16" if self.device == "cuda" else "fp32"


SIDES: dict[str, dict[str, Any]] = {"uncompiled": {"compile": "off"}, "default": {}}
"""Fields of `TrainConfig` for a training step before and after compilation."""
DETERMINISTIC = {"deterministic": True}


def count_loader_threads(device: Device) -> int:
    """Return the threads that decode images in the training pieces."""
    return 12 if device == "cuda" else 1
