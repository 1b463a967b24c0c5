"""One optimizer step: the loss of each line, the gradients over all ranks, the update of the weights."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from transformers.models.vision_encoder_decoder.modeling_vision_encoder_decoder import shift_tokens_right

from ocr_ray.model.load import OcrModel
from ocr_ray.model.pixels import make_pixels, to_pixel_values
from ocr_ray.model.precision import autocast, clip_gradients
from ocr_ray.training.checkpoint import Training
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import IGNORED_TOKEN, Batch, StepBatches
from ocr_ray.training.fixed_shapes import FixedShapeLosses

log = logging.getLogger(__name__)


def compute_gradients(
    network: Any, training: Training, step: StepBatches, *, blank: Batch, config: TrainConfig
) -> torch.Tensor:
    """Compute the gradients of the mean loss per token over all lines of a step.

    `network` is the model's, or its `FixedShapeLosses`, or DDP around either. Return this rank's summed
    loss, float64, on the device; nothing waits for the device. DDP averages gradients over ranks, so each
    rank's sum is multiplied by their number and divided by the tokens of all ranks. A rank without lines
    passes `blank` with weight 0, because every rank must take part. Gradients are exchanged once, in the last
    batch of a rank.
    """
    ocr = training.ocr
    has_fixed_shapes = isinstance(_unwrap(network), FixedShapeLosses)
    training.optimizer.zero_grad(set_to_none=not has_fixed_shapes)
    batches, weight = (step.batches, 1.0) if step.batches else ([blank], 0.0)
    scale = _find_scale(training, step, weight)
    total = torch.zeros((), dtype=torch.float64, device=ocr.device)
    for index, batch in enumerate(batches):
        pixels, labels = batch.to(ocr.device)
        is_last = index == len(batches) - 1
        with nullcontext() if is_last or training.world_size == 1 else network.no_sync():
            if has_fixed_shapes:
                loss = network(pixels, labels)
            else:
                loss = sum_losses(network, ocr, (pixels, labels), config, labels_on_host=batch.labels)
            torch.autograd.backward(training.scaler.scale(loss * scale))
        total += weight * loss.detach()
    return total


def _unwrap(network: Any) -> Any:
    return getattr(network, "module", network)


def _find_scale(training: Training, step: StepBatches, weight: float) -> float | torch.Tensor:
    """Return the factor of this rank's losses: a number, or with several ranks float32 on the device."""
    own_tokens = sum(batch.num_tokens for batch in step.batches)
    if training.world_size == 1:
        return weight / own_tokens
    num_tokens = torch.full((), own_tokens, dtype=torch.float64, device=training.ocr.device)
    dist.all_reduce(num_tokens)
    return (weight * training.world_size / num_tokens).float()


def apply_gradients(training: Training, config: TrainConfig, *, lr_share: float = 1.0) -> float:
    """Update the weights; return the learning rate of this step, `lr_share` of the optimizer's.

    The share changes the learning rate for the step only, unseen by the scheduler.
    """
    if config.max_grad_norm is not None:
        clip_gradients(training.optimizer, training.scaler, config.max_grad_norm)
    rates = [group["lr"] for group in training.optimizer.param_groups]
    for group, lr in zip(training.optimizer.param_groups, rates, strict=True):
        group["lr"] = lr * lr_share
    training.scaler.step(training.optimizer)
    for group, lr in zip(training.optimizer.param_groups, rates, strict=True):
        group["lr"] = lr
    training.scaler.update()
    return float(rates[0] * lr_share)


def sum_losses(
    network: Any,
    ocr: OcrModel,
    inputs: tuple[torch.Tensor, torch.Tensor],
    config: TrainConfig,
    *,
    labels_on_host: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the summed loss of pixels, as `make_pixels` returns them, and labels; both on the device."""
    pixels, labels = inputs
    pixel_values = to_pixel_values(ocr, pixels, ocr.device)
    with autocast(config.number_format, ocr.device):
        return line_losses(network, pixel_values, labels, labels_on_host=labels_on_host).sum()


def line_losses(
    network: Any,
    pixel_values: torch.Tensor,
    labels: torch.Tensor,
    *,
    labels_on_host: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the cross-entropy of each line, shape (N,), float32, summed over its tokens.

    `network` is a `VisionEncoderDecoderModel` or wraps one; it would shift the labels in the same way itself.
    Logits are computed only for labels, not for padding. Where the labels are is looked up on the CPU, in
    `labels_on_host` if `labels` are on a GPU, so that nothing waits for the GPU.
    """
    inner, device = _unwrap(network), pixel_values.device
    known = labels if labels_on_host is None else labels_on_host
    positions = (known != IGNORED_TOKEN).flatten().nonzero()[:, 0].to(device, non_blocking=True)
    labels = labels.to(device, non_blocking=True)
    with _logits_only_at(inner, positions):
        logits = network(
            pixel_values=pixel_values,
            decoder_input_ids=shift_tokens_right(
                labels, inner.config.pad_token_id, inner.config.decoder_start_token_id
            ),
            use_cache=False,
        ).logits
    targets = labels.flatten().index_select(0, positions)
    # Not `index_add`: on a GPU it sums in an order, and so with rounding, that differs from run to run.
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    return losses.new_zeros(labels.numel()).index_copy(0, positions, losses).view(labels.shape).sum(dim=1)


class _Selection:
    """A hook that restricts the output layer to some positions of the flattened (N, T)."""

    def __init__(self) -> None:
        self.positions: torch.Tensor | None = None
        """None: to all of them, without flattening."""

    def __call__(self, _: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self.positions is None:
            return None
        return inputs[0].flatten(0, 1).index_select(0, self.positions), *inputs[1:]


_selections: WeakKeyDictionary[torch.nn.Module, _Selection] = WeakKeyDictionary()
"""By output layer: its hook. transformers has no argument for it that all decoders take."""


@contextmanager
def _logits_only_at(network: Any, positions: torch.Tensor) -> Iterator[None]:
    """Compute logits at some positions only, of shape (positions, V)."""
    head = network.get_output_embeddings()
    if head not in _selections:
        _selections[head] = _Selection()
        head.register_forward_pre_hook(_selections[head])
    _selections[head].positions = positions
    try:
        yield
    finally:
        _selections[head].positions = None


def make_blank_batch(ocr: OcrModel) -> Batch:
    """Return a batch of one white line without text, for a rank that gets none of the last lines."""
    return Batch(
        pixels=make_pixels(ocr, [Image.new("L", (64, 64), 255)]),
        labels=torch.tensor([[ocr.end_token_id]]),
        texts=[""],
        line_ids=[""],
        sources=[""],
        datasets=[""],
        positions=[-1],
        num_tokens=1,
    )


def freeze_unused(ocr: OcrModel, blank: Batch) -> None:
    """Freeze the parameters that no loss reaches, such as an encoder's pooler: DDP would wait for them."""
    ocr.network.eval()
    pixel_values = to_pixel_values(ocr, blank.pixels, ocr.device)
    torch.autograd.backward(line_losses(ocr.network, pixel_values, blank.labels).sum())
    unused = [name for name, parameter in ocr.network.named_parameters() if parameter.grad is None]
    for parameter in ocr.network.parameters():
        parameter.requires_grad_(parameter.grad is not None)
    ocr.network.zero_grad(set_to_none=True)
    if unused:
        log.info("%d parameters do not affect the loss and are frozen: %s", len(unused), ", ".join(unused))
