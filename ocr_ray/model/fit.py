"""Whether the parts of a model fit together: a blank line goes through processor, encoder and decoder.

Each of them can load on its own and still not fit the others. That would end a job in the middle, or give
wrong texts without a word.
"""

from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.trocr.modeling_trocr import TrOCRForCausalLM

from ocr_ray.errors import InputError
from ocr_ray.model.pixels import make_pixels, to_pixel_values
from ocr_ray.model.refusal import refused
from ocr_ray.model.special_tokens import settle_generation

CACHE = "cache" if "cache" in signature(TrOCRForCausalLM.forward).parameters else "past_key_values"
"""The name of a decoder's cache: transformers renames it and warns of the old name."""
MAX_SIDE_PX = 8192
"""Of the images that a processor may make."""
_STORED_SIZE = (384, 384)
"""Of the lines of a dataset."""
_NUM_TOKENS = 3
"""Of the label that positions are measured with."""


class _TableReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the rows that are read from tables, such as those of positions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads: list[tuple[int, list[int]]] = []
        """Rows of a table, and the indices read."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("embedding", "index_select"):
            table, indices = args[0], args[1] if name == "embedding" else args[2]
            self.reads.append((table.shape[0], indices.flatten().tolist()))
        return func(*args, **(kwargs or {}))


def check_fit(network: Any, tokenizer: Any, image_processor: Any, folder: Path) -> int:
    """Read a blank line; return the number of tokens that the decoder has positions for.

    The limits of the generation config are set to it, see `settle_generation`.

    Raises:
        InputError: a part does not fit the others; the message names both.
    """
    check_weights(network, folder)
    check_tokens(network, tokenizer, folder)
    states = encode_blank(network, image_processor, folder)
    num_positions = settle_lengths(network, states, folder)
    check_greedy_step(network, states, folder)
    return num_positions


def settle_lengths(network: Any, states: torch.Tensor | None, folder: Path) -> int:
    """Return the number of tokens that the decoder has positions for; limit its generation config to it."""
    num_positions = measure_positions(network, states, folder)
    settle_generation(network, num_positions, folder)
    return num_positions


def check_weights(network: Any, folder: Path) -> None:
    """Check that every weight is a number.

    Raises:
        InputError: a weight is NaN or infinite.
    """
    # The sum is not finite if a weight is not; it takes a third of the time of `isfinite` for each.
    for name, weights in network.state_dict().items():
        if weights.is_floating_point() and not weights.sum().isfinite() and not weights.isfinite().all():
            raise InputError(
                f"every weight in {_name_weights(folder)} must be finite, {name} has NaN or infinity: "
                "the model was damaged in training or conversion, use an earlier checkpoint"
            )


def _name_weights(folder: Path) -> str:
    return ", ".join(str(path) for path in sorted(folder.glob("*.safetensors")))


def check_tokens(network: Any, tokenizer: Any, folder: Path) -> None:
    """Check that the decoder has every token of the tokenizer and of the configs.

    Raises:
        InputError: a token lies outside its vocabulary.
    """
    vocab_size = network.decoder.get_input_embeddings().weight.shape[0]
    if (num_tokens := 1 + max(tokenizer.get_vocab().values(), default=-1)) > vocab_size:
        raise InputError(f"the tokenizer of {folder} has {num_tokens} tokens, its decoder only {vocab_size}")
    files = ("config.json", network.config), ("generation_config.json", network.generation_config)
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id", "eos_token_id"):
        for file, config in files:
            value = getattr(config, name, None)
            for token in value if isinstance(value, list | tuple) else [value]:
                is_token = isinstance(token, int) and 0 <= token < vocab_size
                if token is not None and not is_token:
                    raise InputError(
                        f"{name} in {folder / file} must be one of the {vocab_size} tokens of the decoder, "
                        f"got {token!r}"
                    )


def encode_blank(network: Any, image_processor: Any, folder: Path) -> torch.Tensor:
    """Return the encoder's states for a blank line, shape (1, S, D).

    Raises:
        InputError: the processor cannot make its pixels, or the encoder does not take them.
    """
    processor = f"the image processor of {folder}"
    for name in ("size", "crop_size", "pad_size"):
        sides = {
            key: value
            for key, value in dict(getattr(image_processor, name, None) or {}).items()
            if "pixels" not in key
        }
        if max(sides.values(), default=0) > MAX_SIDE_PX:
            raise InputError(
                f"{processor} must make sides of at most {MAX_SIDE_PX} px, its {name} is {sides}"
            )
    with refused(f"{processor} must make pixels of an image; it failed"):
        side_px = 64 if getattr(image_processor, "do_resize", True) else _STORED_SIZE[1]
        blank = Image.new("L", (_STORED_SIZE[0], side_px), 255)
        ocr = SimpleNamespace(image_processor=image_processor)
        pixel_values = to_pixel_values(ocr, make_pixels(ocr, [blank]), torch.device("cpu"))
        shape = tuple(pixel_values.shape)
        is_usable = bool(pixel_values.is_floating_point() and pixel_values.isfinite().all())
    if len(shape) != 4 or not is_usable:
        raise InputError(
            f"{processor} must make finite numbers of shape (1, channels, height, width), got shape {shape}"
            + ("" if is_usable else " with other values")
        )
    encoder = network.config.encoder
    taken = (
        f"{getattr(encoder, 'image_size', '?')} pixels and {getattr(encoder, 'num_channels', '?')} channels"
    )
    made = f"{shape[3]}x{shape[2]} pixels and {shape[1]} channels"
    with refused(f"{processor} makes {made}, its encoder takes {taken}; it failed"):
        states: torch.Tensor = network.encoder(pixel_values)[0]
        return states


def measure_positions(network: Any, states: torch.Tensor | None, folder: Path) -> int:
    """Return the number of tokens that the decoder has positions for; reads a label with it.

    With the states of an image it also reads the last token of a label of full length.

    The table of positions is the one that a label reads in consecutive rows. Decoders differ in the row they
    start at: RoBERTa's first position is after that of the padding token. A decoder without a table has
    `max_position_embeddings`.

    Raises:
        InputError: the decoder does not take the encoder's states, or gives no finite logits.
    """
    config = network.config.decoder
    width = getattr(config, "cross_attention_hidden_size", None) or config.hidden_size
    special = {network.config.pad_token_id, network.config.decoder_start_token_id}
    token = next(token for token in range(3) if token not in special)
    label = torch.full((1, _NUM_TOKENS), token)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    given = "no states" if states is None else f"states of width {states.shape[-1]}"
    with refused(
        f"the decoder of {folder} must read a label next to an image; the encoder gives {given}, its "
        f"cross-attention takes {width}; it failed"
    ):
        if states is not None and hasattr(network, "enc_to_dec_proj"):
            states = network.enc_to_dec_proj(states)
        with _TableReads() as tables:
            logits = network.decoder(
                input_ids=label, encoder_hidden_states=states, use_cache=True, **{CACHE: cache}
            ).logits
    if not logits.isfinite().all():
        raise InputError(
            f"the weights in {_name_weights(folder)} must give finite logits, those of a "
            "blank line are NaN or infinite"
        )
    positions = [
        rows - read[0] for rows, read in tables.reads if read == list(range(read[0], read[0] + _NUM_TOKENS))
    ]
    limit = min(positions, default=getattr(config, "max_position_embeddings", None))
    if not isinstance(limit, int) or limit < _NUM_TOKENS:
        raise InputError(f"the decoder of {folder} must have positions for a label, it has {limit}")
    if positions and states is not None:
        _read_last_token(network, states, cache, token, limit, folder)
    return limit


def _read_last_token(
    network: Any, states: torch.Tensor, read: EncoderDecoderCache, token: int, limit: int, folder: Path
) -> None:
    """Read the last token of a label of full length, after copies of a token that was read before."""
    before = DynamicCache()
    for index, layer in enumerate(read.self_attention_cache.layers):
        copies = [part[:, :, :1].repeat(1, 1, limit - 1, 1) for part in (layer.keys, layer.values)]
        before.update(*copies, index)
    with refused(f"the decoder of {folder} must read a label of {limit} tokens; it failed"):
        network.decoder(
            input_ids=torch.tensor([[token]]),
            encoder_hidden_states=states,
            use_cache=True,
            **{CACHE: EncoderDecoderCache(before, DynamicCache())},
        )


def check_greedy_step(network: Any, states: torch.Tensor, folder: Path) -> None:
    """Check that a token can be chosen with the settings of the model.

    Raises:
        InputError: transformers refuses the settings.
    """

    def choose(
        network: Any, input_ids: torch.Tensor, *, logits_processor: Any, **inputs: Any
    ) -> torch.Tensor:
        # Any logits will do; those of a decoder would take a base-size model half a second.
        logits = torch.zeros(1, network.get_output_embeddings().weight.shape[0])
        chosen: torch.Tensor = logits_processor(input_ids, logits).argmax(-1)
        return chosen

    with refused(f"the generation config of {folder} must allow greedy decoding; it failed"):
        encoded = BaseModelOutput(last_hidden_state=states)
        network.generate(encoder_outputs=encoded, do_sample=False, num_beams=1, custom_generate=choose)
