"""The loss of a line: cross-entropy over its tokens, with logits for no other place than a label's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from transformers.models.vision_encoder_decoder.modeling_vision_encoder_decoder import shift_tokens_right

IGNORED_TOKEN = -100
"""Fills up labels; transformers and PyTorch leave it out of the loss."""


def line_losses(network: Any, pixel_values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each line, shape (N,), float32, summed over its tokens.

    `network` is a `VisionEncoderDecoderModel` or wraps one; shifting the labels is what it would do itself.
    The vocabulary's logits are computed where a label stands, not where one is filled up. Labels may lie on
    the CPU while the pixels lie on a GPU: then the GPU is not waited for.
    """
    inner = getattr(network, "module", network)
    labelled = (labels != IGNORED_TOKEN).flatten().nonzero()[:, 0]
    targets = labels.flatten()[labelled]
    decoder_input_ids = shift_tokens_right(
        labels, inner.config.pad_token_id, inner.config.decoder_start_token_id
    )
    device = pixel_values.device
    places = labelled.to(device, non_blocking=True)
    with _logits_only_at(inner, places):
        logits = network(
            pixel_values=pixel_values,
            decoder_input_ids=decoder_input_ids.to(device, non_blocking=True),
            use_cache=False,
        ).logits
    # Not `index_add`: on a GPU its order of summing, and so its rounding, changes from run to run.
    losses = F.cross_entropy(logits.float(), targets.to(device, non_blocking=True), reduction="none")
    return losses.new_zeros(labels.numel()).index_copy(0, places, losses).view(labels.shape).sum(dim=1)


@contextmanager
def _logits_only_at(network: Any, places: torch.Tensor) -> Iterator[None]:
    """Let the last layer see only some places of the flattened (N, T): logits of shape (places, V)."""

    def select(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return inputs[0].flatten(0, 1).index_select(0, places), *inputs[1:]

    handle = network.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
