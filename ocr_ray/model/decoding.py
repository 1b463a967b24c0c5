"""Greedy generation that leaves lines behind as they end, and knows how sure the model was.

transformers prepares it: the encoder is run once, the checkpoint's own settings become logits processors. Its
own loop goes on with all lines of a batch until the last has ended, and keeps the logits of every step.
"""

from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from ocr_ray.model.load import OcrModel

MIN_LEFT = 0.75
"""Lines that have ended are dropped when no greater share is left; until then they are carried along."""


ENCODED_ON_CPU = 4
"""Lines that a CPU encodes at once: their states fit its cache, which makes them 10 % faster than sixteen."""


class Written(NamedTuple):
    """What a model wrote on N lines, T tokens each, the start token included."""

    tokens: torch.Tensor
    """Of shape (N, T), filled up with the pad token."""
    confidences: torch.Tensor
    """Of shape (N,): the mean probability of a line's tokens, the one that ends it included."""


def write_greedily(ocr: OcrModel, pixel_values: torch.Tensor) -> Written:
    """Return what the model writes on pixels of shape (N, 3, H, W), always its likeliest next token.

    The tokens are those of `generate(do_sample=False, num_beams=1)`.
    """
    with torch.inference_mode():
        written: Written = ocr.network.generate(
            encoder_outputs=encode(ocr, pixel_values), do_sample=False, num_beams=1, custom_generate=_write
        )
    return written


def encode(ocr: OcrModel, pixel_values: torch.Tensor) -> BaseModelOutput:
    """Return what the encoder makes of pixels of shape (N, 3, H, W)."""
    size = ENCODED_ON_CPU if pixel_values.device.type == "cpu" else max(1, len(pixel_values))
    starts = range(0, len(pixel_values), size)
    states = [ocr.network.encoder(pixel_values[start : start + size])[0] for start in starts]
    return BaseModelOutput(last_hidden_state=torch.cat(states))


def _write(
    network: Any,
    input_ids: torch.Tensor,
    *,
    logits_processor: Any,
    generation_config: Any,
    **inputs: Any,
) -> Written:
    states = inputs["encoder_outputs"][0]
    if hasattr(network, "enc_to_dec_proj"):
        states = network.enc_to_dec_proj(
            states
        )  # once, where the forward pass of the whole does so each step
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
    place = input_ids.shape[1]
    while place < length:
        logits = (
            network.decoder(
                input_ids=tokens[rows, place - 1 : place] if place > input_ids.shape[1] else input_ids[rows],
                encoder_hidden_states=states,
                past_key_values=cache,
                use_cache=True,
            )
            .logits[:, -1]
            .float()
        )
        chosen = logits_processor(tokens[rows, :place], logits).argmax(-1)
        probabilities = (logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)).exp()
        written = rows[is_open]
        tokens[written, place] = chosen[is_open]
        sums[written] += probabilities[is_open]
        counts[written] += 1
        place += 1
        is_open &= ~torch.isin(chosen, ends)
        num_open = int(is_open.sum())
        if not num_open:
            break
        if num_open <= MIN_LEFT * len(rows):
            kept = is_open.nonzero()[:, 0]
            cache.batch_select_indices(kept)
            states, rows = states[kept], rows[kept]
            is_open = torch.ones_like(kept, dtype=torch.bool)
    return Written(tokens[:, :place], sums / counts.clamp(min=1))
