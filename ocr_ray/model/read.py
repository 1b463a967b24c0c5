"""Reading images with a model: texts and confidences."""

import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy

import torch
from PIL import Image

from ocr_ray.dataset.images import open_line_image
from ocr_ray.errors import ProductionError
from ocr_ray.model.decoding import Decoded, decode_greedily, encode, find_unended
from ocr_ray.model.facts import ModelFacts, model_files, read_facts
from ocr_ray.model.line_reading import LineReading, make_reading
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.options import GREEDY, Decoding
from ocr_ray.model.pixels import make_pixels, to_pixel_values
from ocr_ray.model.precision import autocast
from ocr_ray.model.refusal import refused
from ocr_ray.storage.location import Location

DECODING_THREADS = 2
"""Threads that decode the images of the next batches while a batch is read."""


def inspect_model(source: Location | str, num_beams: int = 1) -> ModelFacts:
    """Return facts about a model, a folder or a hub id; it is loaded once to check that this works.

    It generates a token with `num_beams`, because settings of a model can prevent beam search alone.

    Raises:
        InputError: it cannot be loaded, or its metrics.json is invalid.
    """
    with model_files(source) as folder:
        model = load_model(folder)  # reports what is missing before a worker would
        if num_beams > 1:
            blank = to_pixel_values(
                model, make_pixels(model, [Image.new("L", (384, 384), 255)]), model.device
            )
            message = f"the configs of {folder} must allow beam search, use --num-beams 1; it failed"
            with refused(message), torch.inference_mode():
                _decode_with_beams(model, blank, num_beams, max_new_tokens=1)
    return read_facts(source)


def read_images(
    model: OcrModel,
    images: Sequence[bytes],
    decoding: Decoding = GREEDY,
    *,
    names: Sequence[str] | None = None,
) -> list[LineReading]:
    """Return the readings of encoded images.

    The confidence is the mean probability of the tokens, including the end token but not padding. `names` are
    those of the images in messages; None: their numbers.

    Raises:
        InputError: an image cannot be decoded; the message names it.
        ProductionError: a confidence is no number, because the logits are not.
    """
    names = names or [f"image {number}" for number in range(len(images))]
    readings: list[LineReading] = []
    for pixels in _decode_ahead(model, list(zip(images, names, strict=True)), decoding.batch_size):
        pixel_values = to_pixel_values(model, pixels, model.device)
        with torch.inference_mode(), autocast(decoding.precision, model.device):
            if decoding.num_beams == 1:
                decoded = decode_greedily(model, pixel_values)
            else:
                decoded = _decode_with_beams(model, pixel_values, decoding.num_beams)
        texts = [unicodedata.normalize("NFC", text) for text in model.decode(decoded.tokens)]
        if not decoded.confidences.isfinite().all():
            raise ProductionError(
                f"the model {model.name} must give finite logits, a line has NaN or infinity at "
                f"precision {decoding.precision}: read with precision fp32, or use an earlier checkpoint"
            )
        readings += map(make_reading, texts, decoded.confidences.tolist(), decoded.reached_limit.tolist())
    return readings


def _decode_ahead(
    model: OcrModel, images: Sequence[tuple[bytes, str]], batch_size: int
) -> Iterator[torch.Tensor]:
    """Yield the output of `make_pixels` for each batch while the next batches are decoded."""
    batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        waiting: deque[Future[torch.Tensor]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_decode, model, batch))
            if len(waiting) > DECODING_THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode(model: OcrModel, images: Sequence[tuple[bytes, str]]) -> torch.Tensor:
    return make_pixels(model, (open_line_image(content, name) for content, name in images))


def _decode_with_beams(model: OcrModel, pixel_values: torch.Tensor, num_beams: int, **limits: int) -> Decoded:
    """Return the best beams; `limits` replace those of the model."""
    network = model.network
    encoded = encode(model, pixel_values)
    # A copy, because `generate` repeats the states of its argument once for every beam.
    tokens = network.generate(encoder_outputs=copy(encoded), do_sample=False, num_beams=num_beams, **limits)
    logits = network(encoder_outputs=encoded, decoder_input_ids=tokens[:, :-1]).logits.float()
    probabilities = logits.softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    generation = network.generation_config
    confidences = mean_before_end(probabilities, tokens[:, 1:], generation.eos_token_id)
    return Decoded(tokens, confidences, find_unended(tokens, generation))


def mean_before_end(values: torch.Tensor, tokens: torch.Tensor, end: int | list[int]) -> torch.Tensor:
    """Return the mean of each row's values up to its first end token, inclusive.

    Shapes: values and tokens (N, T), means (N,).
    """
    is_end = torch.isin(tokens, torch.tensor(end, device=tokens.device)).int()
    counted = (is_end.cumsum(1) - is_end) == 0
    return (values * counted).sum(1) / counted.sum(1)
