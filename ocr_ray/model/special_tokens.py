"""Special tokens and lengths of a checkpoint: those set are kept, missing ones are filled in."""

import logging
from pathlib import Path
from typing import Any

from ocr_ray.errors import InputError

log = logging.getLogger(__name__)

DEFAULT_MAX_LENGTH = 20
"""What transformers takes for `max_length` where none is set. Until release 4.26 it wrote this default into
the config of every decoder, and saving such a model again copies it into generation_config.json."""

_ONLY_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "top_h",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
)
_ONLY_BEAMS = ("early_stopping", "length_penalty")


def settle_tokens(network: Any, tokenizer: Any, folder: Path) -> None:
    """Set the start, pad and end tokens that are missing in a network's configs.

    Raises:
        InputError: neither the configs nor the tokenizer has one of them.
    """
    of_tokenizer = {
        "decoder_start_token_id": tokenizer.cls_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    configs = (network.config, network.generation_config, network.config.decoder)
    for name, from_tokenizer in of_tokenizer.items():
        values = [value for config in configs if (value := getattr(config, name, None)) not in (None, [])]
        value = values[0] if values else from_tokenizer
        if value is None:
            raise InputError(
                f"{folder}: neither config.json, generation_config.json nor the tokenizer sets {name}"
            )
        if getattr(network.config, name, None) in (None, []):
            setattr(network.config, name, first(value))  # a generation config can have several end tokens
        if getattr(network.generation_config, name, None) in (None, []):
            setattr(network.generation_config, name, value)


def first(value: Any) -> Any:
    """Return a token, or the first of a list of tokens."""
    return value[0] if isinstance(value, list | tuple) else value


def settle_generation(network: Any, limit: int, folder: Path) -> None:
    """Allow repeated tokens, limit lengths to the `limit` positions of the decoder, and check that the
    config can be saved.

    A `max_length` of 20 is taken for the default of transformers, not for a limit of this model. A forced end
    token is removed, because it would make a reading that is cut off look complete.

    Raises:
        InputError: transformers would refuse to save it, which would fail only at the first checkpoint.
    """
    generation = network.generation_config
    if generation.no_repeat_ngram_size:
        log.warning(
            "the model's no_repeat_ngram_size of %s is set to 0: it would forbid repeated digits",
            generation.no_repeat_ngram_size,
        )
    generation.no_repeat_ngram_size = 0
    generation.forced_eos_token_id = None
    if generation.max_new_tokens is None:
        if generation.max_length == DEFAULT_MAX_LENGTH < limit:
            log.warning(
                "the model's max_length of %d is the default of transformers and is not used: the limit is "
                "%d, the positions of its decoder. If %d tokens are meant, set max_new_tokens to %d in its "
                "generation_config.json",
                DEFAULT_MAX_LENGTH,
                limit,
                DEFAULT_MAX_LENGTH,
                DEFAULT_MAX_LENGTH - 1,
            )
            generation.max_length = None
        generation.max_length = _clip_length("max_length", generation.max_length, limit)
    else:
        generation.max_new_tokens = _clip_length("max_new_tokens", generation.max_new_tokens, limit - 1)
    samples, has_beams = bool(generation.do_sample), (generation.num_beams or 1) > 1
    for name in (*([] if samples else _ONLY_SAMPLING), *([] if has_beams else _ONLY_BEAMS)):
        # They have no effect here, but transformers refuses to save a changed config that sets one.
        setattr(generation, name, None)
    try:
        generation.validate(strict=True)
    except ValueError as error:
        raise InputError(
            f"the generation config of {folder} cannot be saved again, change it: {error}"
        ) from error


def _clip_length(name: str, length: int | None, limit: int) -> int:
    if length is not None and (not isinstance(length, int) or length < 1):
        raise ValueError(f"{name} must be a number of tokens, the generation config has {length!r}")
    if length is not None and length > limit:
        log.warning("the model's %s of %d is set to %d, the positions of its decoder", name, length, limit)
    return min(length or limit, limit)
