"""Greedy decoding that drops finished lines from the batch and measures the model's confidence.

transformers prepares it: the encoder runs once, the settings of the checkpoint become logits processors. The
loop of transformers would continue with all lines until the last has ended, and keep the logits of every
step.
"""

from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from ocr_ray.model.fit import CACHE
from ocr_ray.model.load import OcrModel

MIN_LEFT = 0.75
"""Finished lines are dropped once this share of the lines, or less, is unfinished."""
ENCODED_ON_CPU = 4
"""Lines that a CPU encodes together: their states fit its cache, which is 10 % faster than with sixteen."""


class Decoded(NamedTuple):
    """The tokens of N lines, T each, start token included."""

    tokens: torch.Tensor
    """Shape (N, T), padded with the pad token."""
    confidences: torch.Tensor
    """Shape (N,): the mean probability of a line's tokens, end token included."""
    reached_limit: torch.Tensor
    """Shape (N,), bool: the lines that ended at the length limit, without an end token."""


def decode_greedily(ocr: OcrModel, pixel_values: torch.Tensor) -> Decoded:
    """Return the greedy decoding of pixels of shape (N, 3, H, W).

    The tokens are the same as from `generate(do_sample=False, num_beams=1)`.
    """
    with torch.inference_mode():
        decoded: Decoded = ocr.network.generate(
            encoder_outputs=encode(ocr, pixel_values), do_sample=False, num_beams=1, custom_generate=_decode
        )
    return decoded


def encode(ocr: OcrModel, pixel_values: torch.Tensor) -> BaseModelOutput:
    """Return the encoder's output for pixels of shape (N, 3, H, W)."""
    size = ENCODED_ON_CPU if pixel_values.device.type == "cpu" else max(1, len(pixel_values))
    starts = range(0, len(pixel_values), size)
    states = [ocr.network.encoder(pixel_values[start : start + size])[0] for start in starts]
    return BaseModelOutput(last_hidden_state=torch.cat(states))


def _decode(
    network: Any,
    input_ids: torch.Tensor,
    *,
    logits_processor: Any,
    generation_config: Any,
    **inputs: Any,
) -> Decoded:
    """Decode in the place of transformers' own loop, with its arguments."""
    states = inputs["encoder_outputs"][0]
    if hasattr(network, "enc_to_dec_proj"):
        # Once; the forward pass of the whole network would project them at each step.
        states = network.enc_to_dec_proj(states)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    ends = torch.as_tensor(generation_config.eos_token_id, device=input_ids.device).reshape(-1)
    num_lines, length = len(input_ids), int(generation_config.max_length)
    tokens = torch.full(
        (num_lines, length), int(generation_config.pad_token_id), device=input_ids.device, dtype=torch.long
    )
    tokens[:, : input_ids.shape[1]] = input_ids
    sums = torch.zeros(num_lines, device=input_ids.device)
    counts = torch.zeros_like(sums)
    rows = torch.arange(num_lines, device=input_ids.device)
    is_open = torch.ones(num_lines, dtype=torch.bool, device=input_ids.device)
    position = input_ids.shape[1]
    while position < length:
        logits = (
            network.decoder(
                input_ids=(
                    tokens[rows, position - 1 : position]
                    if position > input_ids.shape[1]
                    else input_ids[rows]
                ),
                encoder_hidden_states=states,
                use_cache=True,
                **{CACHE: cache},
            )
            .logits[:, -1]
            .float()
        )
        chosen = logits_processor(tokens[rows, :position], logits).argmax(-1)
        probabilities = (logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)).exp()
        open_rows = rows[is_open]
        tokens[open_rows, position] = chosen[is_open]
        sums[open_rows] += probabilities[is_open]
        counts[open_rows] += 1
        position += 1
        is_open &= ~torch.isin(chosen, ends)
        num_open = int(is_open.sum())
        if not num_open:
            break
        if num_open <= MIN_LEFT * len(rows):
            kept = is_open.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            states, rows = states[kept], rows[kept]
            is_open = torch.ones_like(kept, dtype=torch.bool)
    tokens = tokens[:, :position]
    return Decoded(tokens, sums / counts.clamp(min=1), find_unended(tokens, generation_config))


def find_unended(tokens: torch.Tensor, generation_config: Any) -> torch.Tensor:
    """Return which rows of generated tokens, shape (N, T), have no end token after the start token."""
    ends = torch.as_tensor(generation_config.eos_token_id, device=tokens.device)
    return ~torch.isin(tokens[:, 1:], ends).any(dim=1)
