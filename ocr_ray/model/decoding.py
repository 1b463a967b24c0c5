"""Greedy decoding that drops finished lines from the batch and measures the model's confidence.

transformers prepares it: the settings of the checkpoint become logits processors. The loop of transformers
would continue with all lines until the last has ended, and keep the logits of every step.

On a GPU the steps have fixed memory and are repeated as CUDA graphs, see `static_steps.py`. On a CPU, and for
decoders that do not work so, keys and values grow as in transformers.
"""

from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from ocr_ray.model.load import OcrModel
from ocr_ray.model.static_steps import find_static_steps, read_logits

MIN_LEFT = 0.75
"""Finished lines are dropped once this share of the lines, or less, is unfinished."""
ENCODED_TOGETHER = {"cpu": 4, "cuda": 512}
"""Lines that a device encodes together. The states of four fit the cache of a CPU, which is 10 % faster than
with sixteen; those of 512 fit the memory of a GPU."""


class Decoded(NamedTuple):
    """The tokens of N lines, T each, start token included."""

    tokens: torch.Tensor
    """Shape (N, T), padded with the pad token."""
    confidences: torch.Tensor
    """Shape (N,): the mean probability of a line's tokens, end token included."""
    reached_limit: torch.Tensor
    """Shape (N,), bool: the lines that ended at the length limit, without an end token."""


class DynamicSteps:
    """The steps of a decoder with keys and values that grow, as transformers has them."""

    check_every = 1
    """Steps between two looks at how many lines are unfinished."""

    def __init__(self) -> None:
        self.lock = nullcontext()

    def fit_rows(self, num_open: int, rows: int) -> int:
        """Return the number of rows of the next steps, at most `rows`, for so many unfinished lines."""
        return num_open if num_open <= MIN_LEFT * rows else rows

    def start(self, states: torch.Tensor) -> int:
        """Begin new lines with the encoder's states, shape (N, S, D); return the number of rows."""
        self._states, self._cache = states, EncoderDecoderCache(DynamicCache(), DynamicCache())
        return len(states)

    def read(self, decoder: Any, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after the next tokens of each row, shapes (rows, vocabulary) and (rows, T)."""
        return read_logits(decoder, tokens, self._states, self._cache).float()

    def keep(self, kept: torch.Tensor) -> None:
        """Go on with some of the rows, in this order; their number comes from `fit_rows`."""
        self._cache.batch_select_indices(kept)
        self._states = self._states[kept]


def encode(ocr: OcrModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """Return the encoder's states for pixels of shape (N, 3, H, W), shape (N, S, D)."""
    size = ENCODED_TOGETHER.get(pixel_values.device.type, max(1, len(pixel_values)))
    starts = range(0, len(pixel_values), size)
    with torch.inference_mode():
        return torch.cat([ocr.network.encoder(pixel_values[start : start + size])[0] for start in starts])


def decode_greedily(
    ocr: OcrModel, states: torch.Tensor, generation_config: Any = None, *, is_static: bool | None = None
) -> Decoded:
    """Return the greedy decoding of the encoder's states, shape (N, S, D).

    The tokens are those of `generate(do_sample=False, num_beams=1)` with the generation config, by default
    the model's. `is_static` is whether steps have fixed memory; None: on a GPU.
    """
    if is_static is None:
        is_static = states.device.type == "cuda"
    with torch.inference_mode():
        decoded: Decoded = ocr.network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            generation_config=generation_config,
            do_sample=False,
            num_beams=1,
            custom_generate=partial(_decode, is_static=is_static),
        )
    return decoded


def _decode(
    network: Any,
    input_ids: torch.Tensor,
    *,
    logits_processor: Any,
    generation_config: Any,
    is_static: bool,
    **inputs: Any,
) -> Decoded:
    """Decode in the place of transformers' own loop, with its arguments."""
    states = inputs["encoder_outputs"][0]
    if hasattr(network, "enc_to_dec_proj"):
        # Once; the forward pass of the whole network would project them at each step.
        states = network.enc_to_dec_proj(states)
    num_lines, num_given = input_ids.shape
    length, pad = int(generation_config.max_length), int(generation_config.pad_token_id)
    static_steps = (
        find_static_steps(network.decoder, states, length) if is_static and num_given == 1 else None
    )
    steps = static_steps or DynamicSteps()
    ends = torch.as_tensor(generation_config.eos_token_id, device=input_ids.device).reshape(-1)
    # The last row is for rows of static steps that have no line.
    tokens = input_ids.new_full((num_lines + 1, length), pad)
    tokens[:num_lines, :num_given] = input_ids
    sums = torch.zeros(num_lines + 1, device=input_ids.device)
    counts = torch.zeros_like(sums)
    with steps.lock:
        lines = torch.arange(steps.start(states), device=input_ids.device).clamp_(max=num_lines)
        is_open = lines < num_lines
        for position in range(num_given, length):
            start = position - 1 if position > num_given else 0
            logits = steps.read(network.decoder, tokens[lines, start:position])
            chosen = logits_processor(tokens[lines, :position], logits).argmax(-1)
            probabilities = (logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)).exp()
            # Masks of fixed shape: to select by them, a GPU would have to wait for their sums.
            tokens[lines, position] = chosen.where(is_open, pad)
            sums[lines] += probabilities.where(is_open, 0.0)
            counts[lines] += is_open
            is_open &= ~torch.isin(chosen, ends)
            if (position + 1 - num_given) % steps.check_every:
                continue
            num_open = int(is_open.sum())
            if not num_open:
                break
            num_rows = steps.fit_rows(num_open, len(lines))
            if num_rows < len(lines):
                kept = is_open.int().argsort(descending=True, stable=True)[:num_rows]
                lines, is_open = lines[kept], is_open[kept]
                steps.keep(kept)
    tokens = tokens[:num_lines, : num_given + int(counts.max())]
    confidences = (sums / counts.clamp(min=1))[:num_lines]
    return Decoded(tokens, confidences, find_unended(tokens, generation_config))


def find_unended(tokens: torch.Tensor, generation_config: Any) -> torch.Tensor:
    """Return which rows of generated tokens, shape (N, T), have no end token after the start token."""
    ends = torch.as_tensor(generation_config.eos_token_id, device=tokens.device)
    return ~torch.isin(tokens[:, 1:], ends).any(dim=1)
