"""Validation: token-weighted losses and error counts, summed over all ranks before rates are computed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from ocr_ray.metrics import ErrorCounts, count_errors
from ocr_ray.model.decoding import decode_greedily, encode
from ocr_ray.model.load import OcrModel
from ocr_ray.model.pixels import to_pixel_values
from ocr_ray.model.precision import autocast
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import IGNORED_TOKEN, Batch, LineLoader
from ocr_ray.training.steps import line_losses

NUM_SAMPLES = 16

ValidationSample = dict[str, Any]
"""A validation line as it was read: `dataset`, `line_id`, `truth` (the reference) and `prediction`."""


@dataclass(slots=True, kw_only=True)
class ValidationSums:
    """Losses and error counts over validation lines; they add up over batches, ranks and datasets."""

    loss: float = 0.0
    tokens: int = 0
    page_loss: float = 0.0
    """Over lines whose source is `page`."""
    page_tokens: int = 0
    errors: ErrorCounts = field(default_factory=ErrorCounts.zero)
    """Over the lines that were generated."""

    def to_list(self) -> list[float]:
        return [self.loss, self.tokens, self.page_loss, self.page_tokens, *self.errors.to_list()]

    @classmethod
    def from_list(cls, values: Sequence[float]) -> "ValidationSums":
        loss, tokens, page_loss, page_tokens, *counts = values
        return cls(
            loss=loss,
            tokens=int(tokens),
            page_loss=page_loss,
            page_tokens=int(page_tokens),
            errors=ErrorCounts.from_list([int(count) for count in counts]),
        )

    def __add__(self, other: "ValidationSums") -> "ValidationSums":
        return ValidationSums(
            loss=self.loss + other.loss,
            tokens=self.tokens + other.tokens,
            page_loss=self.page_loss + other.page_loss,
            page_tokens=self.page_tokens + other.page_tokens,
            errors=self.errors + other.errors,
        )

    def to_metrics(self, prefix: str = "") -> dict[str, float]:
        """Return the rates, all finite; those without lines are left out."""
        metrics = {}
        if self.tokens:
            metrics["validation_loss_all"] = self.loss / self.tokens
        if self.page_tokens:
            metrics["validation_loss_page"] = self.page_loss / self.page_tokens
        if self.errors.lines:
            metrics |= {
                "validation_cer": self.errors.cer,
                "validation_character_accuracy": self.errors.character_accuracy,
                "validation_wer": self.errors.wer,
                "validation_exact_match": self.errors.exact_match,
                "validation_generated_lines": self.errors.lines,
            }
        return {prefix + name: float(value) for name, value in metrics.items()}


def reduce_sums(values: Sequence[float], device: torch.device) -> list[float]:
    """Return the sums over all ranks, in float64; the values themselves if training is not distributed."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [float(value) for value in values]
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return [float(value) for value in sums.tolist()]


def choose_generated(num_lines: int, max_lines: int) -> frozenset[int]:
    """Return the positions of the lines to generate: at most `max_lines`, evenly spaced, always the same."""
    count = min(num_lines, max_lines)
    return frozenset((np.arange(count) * num_lines // max(1, count)).tolist())


@torch.no_grad()
def validate(
    ocr: OcrModel, loaders: Sequence[LineLoader], config: TrainConfig
) -> tuple[dict[str, ValidationSums], list[ValidationSample]]:
    """Return the sums over all ranks by dataset, and sample lines with their predictions.

    Each loader has one split. The samples are the same 16 lines each time, evenly spaced over the datasets.
    """
    was_training = ocr.network.training
    ocr.network.eval()
    num_per_dataset = -(-NUM_SAMPLES // max(1, sum(loader.num_lines > 0 for loader in loaders)))
    own, samples = [], []
    for loader in loaders:
        sums, split_samples = _validate_split(ocr, loader, config, num_per_dataset)
        own.append(sums.to_list())
        samples += split_samples
    ocr.network.train(was_training)
    totals = reduce_sums([value for values in own for value in values], ocr.device)
    width = len(ValidationSums().to_list())
    by_name = {
        loader.splits[0].name: ValidationSums.from_list(totals[index * width : (index + 1) * width])
        for index, loader in enumerate(loaders)
    }
    return by_name, _gather(samples)[:NUM_SAMPLES]


def _gather(samples: list[ValidationSample]) -> list[ValidationSample]:
    """Return the samples of all ranks, sorted."""
    gathered = [samples]
    if dist.is_initialized() and dist.get_world_size() > 1:
        gathered = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, samples)
    return sorted(
        (sample for of_rank in gathered for sample in of_rank), key=lambda s: (s["dataset"], s["line_id"])
    )


def _validate_split(
    ocr: OcrModel, loader: LineLoader, config: TrainConfig, num_samples: int
) -> tuple[ValidationSums, list[ValidationSample]]:
    generated = choose_generated(loader.num_lines, config.max_generated_lines)
    positions = sorted(generated)
    sampled = {positions[index] for index in choose_generated(len(positions), num_samples)}
    sums, samples = ValidationSums(), []
    waiting: list[_Waiting] = []

    def generate(lines: list[_Waiting]) -> None:
        for line, prediction in zip(lines, _predict(ocr, lines, config), strict=True):
            sums.errors += count_errors(line.text, prediction)
            if line.position in sampled:
                names = {"dataset": loader.splits[0].name, "line_id": line.line_id}
                samples.append({**names, "truth": line.text, "prediction": prediction})

    for step in loader.steps(None):
        for batch in step.batches:
            pixel_values = to_pixel_values(ocr, batch.pixels, ocr.device)
            sums += _sum_losses(ocr, batch, pixel_values, config)
            waiting += _select(batch, pixel_values, generated)
        while len(waiting) >= loader.batch_size:
            generate(waiting[: loader.batch_size])
            waiting = waiting[loader.batch_size :]
    if waiting:
        generate(waiting)
    return sums, samples


def _sum_losses(
    ocr: OcrModel, batch: Batch, pixel_values: torch.Tensor, config: TrainConfig
) -> ValidationSums:
    with autocast(config.number_format, ocr.device):
        losses = line_losses(ocr.network, pixel_values, batch.labels)
    tokens = (batch.labels != IGNORED_TOKEN).sum(dim=1)
    is_page = torch.tensor([source == "page" for source in batch.sources])
    losses = losses.double().cpu()
    return ValidationSums(
        loss=float(losses.sum()),
        tokens=int(tokens.sum()),
        page_loss=float(losses[is_page].sum()),
        page_tokens=int(tokens[is_page].sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A line waiting for enough others to fill a batch for generation."""

    position: int
    line_id: str
    pixel_values: torch.Tensor
    text: str


def _select(batch: Batch, pixel_values: torch.Tensor, positions: frozenset[int]) -> list[_Waiting]:
    return [
        _Waiting(
            position=position,
            line_id=batch.line_ids[index],
            pixel_values=pixel_values[index].clone(),  # a view would keep the whole batch
            text=batch.texts[index],
        )
        for index, position in enumerate(batch.positions)
        if position in positions
    ]


def _predict(ocr: OcrModel, lines: Sequence[_Waiting], config: TrainConfig) -> list[str]:
    """Return greedy predictions up to the model's own end, as `evaluate_trocr` reads the lines."""
    with autocast(config.number_format, ocr.device):
        states = encode(ocr, torch.stack([line.pixel_values for line in lines]))
        return ocr.decode(decode_greedily(ocr, states).tokens)
