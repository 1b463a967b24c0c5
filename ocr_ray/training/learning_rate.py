"""The learning rate of a step as a share of --lr. It depends on the step's number only."""

import math

from ocr_ray.errors import InputError
from ocr_ray.training.config import FINAL_LR_SHARE, TrainConfig


def find_lr_share(config: TrainConfig, step_number: int, num_steps: int) -> float:
    """Return the share of `lr` in a step: linear warm-up, then the schedule's decay.

    `step_number` counts from 0, `num_steps` are those of all epochs. The last step of warm-up has all of
    `lr`, the last step of the run FINAL_LR_SHARE of it. Reductions by `plateau` are not included.
    """
    if step_number < config.warmup_steps:
        return (step_number + 1) / config.warmup_steps
    if config.lr_schedule == "plateau":
        return 1.0
    progress = (step_number + 1 - config.warmup_steps) / (num_steps - config.warmup_steps)
    left = 1 - progress if config.lr_schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * left


def check_warmup(config: TrainConfig, num_lines: int) -> None:
    """Check that the learning rate decays after warm-up, if it is to.

    `num_lines` are those of an epoch; the configuration has its global batch size.

    Raises:
        InputError: warm-up takes all steps of the run.
    """
    num_steps = config.epochs * -(-num_lines // config.count_global(1))
    if config.lr_schedule != "plateau" and config.warmup_steps >= num_steps:
        raise InputError(
            f"--warmup-steps must be fewer than the {num_steps} steps of the run with --lr-schedule "
            f"{config.lr_schedule}, got {config.warmup_steps}"
        )
