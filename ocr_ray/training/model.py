"""The model that reads a line: any Hugging Face `VisionEncoderDecoder`, such as TrOCR."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    VisionEncoderDecoderModel,
)
from transformers.utils.logging import disable_progress_bar

from ocr_ray.errors import InputError
from ocr_ray.storage import Location, check_reachable, local_copy

log = logging.getLogger(__name__)

PROCESSOR_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
"""Copied byte for byte: a tokenizer saved again by transformers 5 loses `vocab.json` and `merges.txt`."""

# Their position embeddings begin behind the padding token's: `max_position_embeddings` 514 holds 512 tokens.
_OFFSET_DECODERS = {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OcrModel:
    """A network with what prepares its input and reads its output."""

    network: Any
    """`VisionEncoderDecoderModel` in float32, its start, pad and end tokens set."""
    tokenizer: Any
    image_processor: Any
    """The model's own, on Pillow: the same pixels whether torchvision is installed or not."""
    folder: Path
    """Where the files of tokenizer and processor lie; they are copied from here into every checkpoint."""

    @property
    def max_target_tokens(self) -> int:
        """The longest label that the decoder has positions for, special tokens included."""
        return count_positions(self.network.config.decoder)

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    def encode_labels(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text with the tokenizer's own special tokens; the end token is last."""
        eos_token_id = self.network.config.eos_token_id
        encoded: list[list[int]] = self.tokenizer(list(texts)).input_ids if texts else []
        return [ids if ids and ids[-1] == eos_token_id else [*ids, eos_token_id] for ids in encoded]

    def decode(self, token_ids: Sequence[Sequence[int]] | torch.Tensor) -> list[str]:
        """Return the texts of generated tokens, nothing tidied but the spaces at both ends.

        transformers' clean-up would take a space out of `3 , 4`; byte-level tokenizers may add one in front.
        """
        texts = self.tokenizer.batch_decode(
            token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]


@contextmanager
def model_files(source: Location | str) -> Iterator[Path]:
    """Give the files of a model as a local folder; `source` is as `locate_model` returns it.

    Raises:
        InputError: there is no model in the folder, or the hub does not give it.
    """
    if isinstance(source, str):
        yield _download(source)
        return
    check_reachable(source, "--model")
    with local_copy(source) as folder:
        if not (folder / "config.json").is_file():
            raise InputError(f"a model must be a Hugging Face folder with config.json, {source} has none")
        yield folder


def _download(hub_id: str) -> Path:
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=patterns))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(hub_id, allow_patterns=[*patterns, "pytorch_model*.bin"]))
    except (OSError, HfHubHTTPError) as error:
        raise InputError(
            f"{hub_id!r} is neither an existing folder nor a model that the hub gives here: {error}"
        ) from error
    return folder


def load_model(folder: Path) -> OcrModel:
    """Return the model of a local Hugging Face folder, ready to be trained or to generate.

    Start, pad and end tokens are the checkpoint's: those of its config, else of its generation config, its
    decoder's config, its tokenizer (start = cls, pad = pad, end = eos). `no_repeat_ngram_size` becomes 0,
    because it forbids `000`.

    Raises:
        InputError: a file is missing or unreadable, or a needed token is set nowhere.
    """
    disable_progress_bar()
    try:
        network = VisionEncoderDecoderModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder} must be a complete VisionEncoderDecoder with tokenizer and processor: {error}"
        ) from error
    if len(tokenizer) > network.config.decoder.vocab_size:
        raise InputError(
            f"the tokenizer of {folder} has {len(tokenizer)} tokens, "
            f"its decoder only {network.config.decoder.vocab_size}"
        )
    _settle_tokens(network, tokenizer, folder)
    _settle_generation(network)
    network.eval()
    return OcrModel(network=network, tokenizer=tokenizer, image_processor=image_processor, folder=folder)


def _settle_tokens(network: Any, tokenizer: Any, folder: Path) -> None:
    own = {
        "decoder_start_token_id": tokenizer.cls_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    for name, from_tokenizer in own.items():
        places = (network.config, network.generation_config, network.config.decoder)
        found = [value for place in places if (value := getattr(place, name, None)) is not None]
        value = found[0] if found else from_tokenizer
        if isinstance(value, list):  # a generation config may end at several tokens
            value = value[0]
        if value is None:
            raise InputError(
                f"{folder}: neither config.json, generation_config.json nor the tokenizer sets {name}"
            )
        setattr(network.config, name, value)
        if getattr(network.generation_config, name, None) is None:
            setattr(network.generation_config, name, value)


def _settle_generation(network: Any) -> None:
    generation = network.generation_config
    if generation.no_repeat_ngram_size:
        log.warning(
            "the model's no_repeat_ngram_size of %d is set to 0: it would forbid repeated digits",
            generation.no_repeat_ngram_size,
        )
    generation.no_repeat_ngram_size = 0
    generation.max_new_tokens = None
    limit = count_positions(network.config.decoder)
    generation.max_length = min(generation.max_length or limit, limit)


def count_positions(decoder_config: Any) -> int:
    """Return how many tokens a decoder has positions for."""
    positions = int(decoder_config.max_position_embeddings)
    if decoder_config.model_type in _OFFSET_DECODERS:
        return positions - int(decoder_config.pad_token_id) - 1
    return positions


def copy_processor_files(source: Path, target: Path) -> list[str]:
    """Copy the files of tokenizer and processor byte for byte; return their names."""
    names = [name for name in PROCESSOR_FILES if (source / name).is_file()]
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        (target / name).write_bytes((source / name).read_bytes())
    return names
