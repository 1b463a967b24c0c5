"""Validation: token-weighted losses and error counts, summed over ranks before any rate is taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from transformers import GenerationConfig

from ocr_ray.metrics import ErrorCounts, count_errors
from ocr_ray.model.load import OcrModel
from ocr_ray.model.pixels import to_pixel_values
from ocr_ray.model.precision import autocast
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.feed.batches import Batch, Feed
from ocr_ray.training.steps import IGNORED_TOKEN, line_losses

NUM_SAMPLES = 16

Sample = dict[str, Any]
"""Of a validation line: `dataset`, `line_id`, `truth` and `prediction`."""


@dataclass(slots=True, kw_only=True)
class ValidationSums:
    """What was counted over some validation lines; adds up over batches, ranks and datasets."""

    loss: float = 0.0
    tokens: int = 0
    page_loss: float = 0.0
    """Over the lines whose source is `page`."""
    page_tokens: int = 0
    errors: ErrorCounts = field(default_factory=ErrorCounts.zero)
    """Over the generated lines."""

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
        """Return the rates, all finite: only those of which there were lines."""
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
    """Return the sums over all ranks, in float64; the values themselves where nothing is distributed."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [float(value) for value in values]
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return [float(value) for value in sums.tolist()]


def choose_generated(num_lines: int, max_lines: int) -> frozenset[int]:
    """Return which lines of a dataset are generated: at most `max_lines`, evenly spaced, always the same."""
    count = min(num_lines, max_lines)
    return frozenset((np.arange(count) * num_lines // max(1, count)).tolist())


@torch.no_grad()
def validate(
    ocr: OcrModel, feeds: Sequence[Feed], config: TrainConfig
) -> tuple[dict[str, ValidationSums], list[Sample]]:
    """Return the sums of each feed's one split over all ranks by its dataset's name, and some lines as read.

    The lines shown are the same 16 each time, evenly spaced over the datasets that have any.
    """
    was_training = ocr.network.training
    ocr.network.eval()
    num_shown = -(-NUM_SAMPLES // max(1, sum(feed.num_lines > 0 for feed in feeds)))
    own, samples = [], []
    for feed in feeds:
        sums, shown = _validate_split(ocr, feed, config, num_shown)
        own.append(sums.to_list())
        samples += shown
    ocr.network.train(was_training)
    totals = reduce_sums([value for values in own for value in values], ocr.device)
    width = len(ValidationSums().to_list())
    by_name = {
        feed.splits[0].name: ValidationSums.from_list(totals[index * width : (index + 1) * width])
        for index, feed in enumerate(feeds)
    }
    return by_name, _gather(samples)[:NUM_SAMPLES]


def _gather(samples: list[Sample]) -> list[Sample]:
    """Return what all ranks have, sorted."""
    gathered = [samples]
    if dist.is_initialized() and dist.get_world_size() > 1:
        gathered = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(gathered, samples)
    return sorted(
        (sample for some in gathered for sample in some), key=lambda s: (s["dataset"], s["line_id"])
    )


def _validate_split(
    ocr: OcrModel, feed: Feed, config: TrainConfig, num_shown: int
) -> tuple[ValidationSums, list[Sample]]:
    chosen = choose_generated(feed.num_lines, config.max_generated_lines)
    places = sorted(chosen)
    shown = {places[index] for index in choose_generated(len(places), num_shown)}
    sums, samples = ValidationSums(), []
    waiting: list[_Waiting] = []

    def generate(lines: list[_Waiting]) -> None:
        for line, prediction in zip(lines, _predict(ocr, lines, config), strict=True):
            sums.errors += count_errors(line.text, prediction)
            if line.position in shown:
                names = {"dataset": feed.splits[0].name, "line_id": line.line_id}
                samples.append({**names, "truth": line.text, "prediction": prediction})

    for step in feed.steps(None):
        for batch in step.batches:
            pixel_values = to_pixel_values(ocr, batch.pixels, ocr.device)
            sums += _sum_losses(ocr, batch, pixel_values, config)
            waiting += _choose(batch, pixel_values, chosen)
        while len(waiting) >= feed.batch_size:
            generate(waiting[: feed.batch_size])
            waiting = waiting[feed.batch_size :]
    if waiting:
        generate(waiting)
    return sums, samples


def _sum_losses(
    ocr: OcrModel, batch: Batch, pixel_values: torch.Tensor, config: TrainConfig
) -> ValidationSums:
    with autocast(config.precision, ocr.device):
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
    """A line that waits until there are enough to generate together."""

    position: int
    line_id: str
    pixel_values: torch.Tensor
    text: str
    num_tokens: int


def _choose(batch: Batch, pixel_values: torch.Tensor, chosen: frozenset[int]) -> list[_Waiting]:
    return [
        _Waiting(
            position=position,
            line_id=batch.line_ids[index],
            pixel_values=pixel_values[index],
            text=batch.texts[index],
            num_tokens=int((batch.labels[index] != IGNORED_TOKEN).sum()),
        )
        for index, position in enumerate(batch.positions)
        if position in chosen
    ]


def _predict(ocr: OcrModel, lines: Sequence[_Waiting], config: TrainConfig) -> list[str]:
    """Return greedy predictions, each cut after twice its label's tokens and 8.

    A model that has learnt little writes on to the decoder's end: the cut spares that time, is the same in
    any batch, and touches no prediction that is not wrong already.
    """
    generation = ocr.network.generation_config
    limits = [min(2 * line.num_tokens + 8, ocr.max_target_tokens - 1) for line in lines]
    with autocast(config.precision, ocr.device):
        token_ids = ocr.network.generate(
            torch.stack([line.pixel_values for line in lines]),
            generation_config=GenerationConfig(
                decoder_start_token_id=generation.decoder_start_token_id,
                bos_token_id=generation.bos_token_id,
                pad_token_id=generation.pad_token_id,
                eos_token_id=generation.eos_token_id,
                max_length=max(limits) + 1,  # the start token counts
                num_beams=1,
                do_sample=False,
                no_repeat_ngram_size=0,
            ),
        ).tolist()
    return ocr.decode([ids[: limit + 1] for ids, limit in zip(token_ids, limits, strict=True)])
