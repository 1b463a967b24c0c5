"""Validation: token-weighted losses and error counts, summed over ranks before any rate is taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from transformers import GenerationConfig
from transformers.models.vision_encoder_decoder.modeling_vision_encoder_decoder import shift_tokens_right

from ocr_ray.metrics import ErrorCounts, count_errors
from ocr_ray.training.feed import IGNORED_TOKEN, Batch, Feed
from ocr_ray.training.model import OcrModel


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


def line_losses(network: Any, pixel_values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each line, shape (N,), summed over its tokens.

    `network` is a `VisionEncoderDecoderModel` or wraps one; shifting the labels is what it would do itself.
    """
    config = getattr(network, "module", network).config
    decoder_input_ids = shift_tokens_right(labels, config.pad_token_id, config.decoder_start_token_id)
    logits = network(pixel_values=pixel_values, decoder_input_ids=decoder_input_ids, use_cache=False).logits
    losses = F.cross_entropy(
        logits.float().transpose(1, 2), labels, ignore_index=IGNORED_TOKEN, reduction="none"
    )
    return losses.sum(dim=1)


def choose_generated(num_lines: int, max_lines: int) -> frozenset[int]:
    """Return which lines of a dataset are generated: at most `max_lines`, evenly spaced, always the same."""
    count = min(num_lines, max_lines)
    return frozenset((np.arange(count) * num_lines // max(1, count)).tolist())


@torch.no_grad()
def validate(ocr: OcrModel, feeds: Sequence[Feed], max_generated_lines: int) -> dict[str, ValidationSums]:
    """Return the sums of each feed's one split, over all ranks, by its dataset's name."""
    was_training = ocr.network.training
    ocr.network.eval()
    own = [_validate_split(ocr, feed, max_generated_lines).to_list() for feed in feeds]
    ocr.network.train(was_training)
    sums = reduce_sums([value for values in own for value in values], ocr.device)
    width = len(ValidationSums().to_list())
    return {
        feed.splits[0].name: ValidationSums.from_list(sums[index * width : (index + 1) * width])
        for index, feed in enumerate(feeds)
    }


def _validate_split(ocr: OcrModel, feed: Feed, max_generated_lines: int) -> ValidationSums:
    chosen = choose_generated(feed.num_lines, max_generated_lines)
    sums = ValidationSums()
    waiting: list[_Waiting] = []
    for batch in feed.batches():
        if not len(batch):
            continue
        sums += _sum_losses(ocr, batch)
        waiting += [
            _Waiting(pixel_values, text, int((labels != IGNORED_TOKEN).sum()))
            for position, pixel_values, text, labels in zip(
                batch.positions, batch.pixel_values, batch.texts, batch.labels, strict=True
            )
            if position in chosen
        ]
        while len(waiting) >= feed.batch_size:
            sums.errors += _count_errors(ocr, waiting[: feed.batch_size])
            waiting = waiting[feed.batch_size :]
    if waiting:
        sums.errors += _count_errors(ocr, waiting)
    return sums


def _sum_losses(ocr: OcrModel, batch: Batch) -> ValidationSums:
    losses = line_losses(ocr.network, batch.pixel_values.to(ocr.device), batch.labels.to(ocr.device))
    tokens = (batch.labels != IGNORED_TOKEN).sum(dim=1)
    is_page = torch.tensor([source == "page" for source in batch.sources])
    losses = losses.double().cpu()
    return ValidationSums(
        loss=float(losses.sum()),
        tokens=int(tokens.sum()),
        page_loss=float(losses[is_page].sum()),
        page_tokens=int(tokens[is_page].sum()),
    )


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A line that waits until there are enough to generate together."""

    pixel_values: torch.Tensor
    text: str
    num_tokens: int


def _count_errors(ocr: OcrModel, lines: Sequence[_Waiting]) -> ErrorCounts:
    """Count the errors of greedy predictions, each cut after twice its label's tokens and 8.

    A model that has learnt little writes on to the decoder's end: the cut spares that time, is the same in
    any batch, and touches no prediction that is not wrong already.
    """
    generation = ocr.network.generation_config
    limits = [min(2 * line.num_tokens + 8, ocr.max_target_tokens - 1) for line in lines]
    token_ids = ocr.network.generate(
        torch.stack([line.pixel_values for line in lines]).to(ocr.device),
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
    predictions = ocr.decode([ids[: limit + 1] for ids, limit in zip(token_ids, limits, strict=True)])
    counts = ErrorCounts.zero()
    for line, prediction in zip(lines, predictions, strict=True):
        counts += count_errors(line.text, prediction)
    return counts
