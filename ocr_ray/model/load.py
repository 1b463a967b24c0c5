"""Loading a model that reads lines: any Hugging Face `VisionEncoderDecoder`, such as TrOCR."""

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
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_MAPPING,
    AutoImageProcessor,
    AutoTokenizer,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.models.trocr.modeling_trocr import TrOCRSinusoidalPositionalEmbedding
from transformers.utils.logging import disable_progress_bar

from ocr_ray.errors import InputError
from ocr_ray.model.grey_patches import use_grey_patches
from ocr_ray.model.special_tokens import count_positions, first, settle_generation, settle_tokens
from ocr_ray.storage.location import Location, check_reachable, local_copy

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


@dataclass(frozen=True, slots=True, kw_only=True)
class OcrModel:
    """A network with its image processor and tokenizer."""

    network: Any
    """`VisionEncoderDecoderModel` in float32 with start, pad and end tokens set; equal channels (stride 0)
    are embedded as one, see `grey_patches.py`."""
    tokenizer: Any
    image_processor: Any
    """The model's own, with the Pillow backend: the same pixels with and without torchvision."""
    folder: Path
    """The folder with the files of tokenizer and processor, which are copied into every checkpoint."""

    @property
    def max_target_tokens(self) -> int:
        """The longest label that the decoder has positions for, special tokens included."""
        return count_positions(self.network.config.decoder)

    @property
    def max_generated_tokens(self) -> int:
        """The most tokens that `generate` returns with the checkpoint's settings, start token included."""
        generation = self.network.generation_config
        if generation.max_new_tokens is not None:
            return int(generation.max_new_tokens) + 1
        return int(generation.max_length)

    @property
    def end_token_id(self) -> int:
        """The token that ends a label; the first if the checkpoint's config names several."""
        return int(first(self.network.config.eos_token_id))

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self.network.parameters()).device
        return device

    def encode_labels(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text with the tokenizer's special tokens; the end token is last."""
        end = self.end_token_id
        encoded: list[list[int]] = self.tokenizer(list(texts)).input_ids if texts else []
        return [ids if ids and ids[-1] == end else [*ids, end] for ids in encoded]

    def decode(self, token_ids: Sequence[Sequence[int]] | torch.Tensor) -> list[str]:
        """Return the texts of generated tokens, without special tokens and spaces at both ends.

        The clean-up of transformers is off, because it would remove a space from `3 , 4`. Byte-level
        tokenizers can add a space at the start.
        """
        texts = self.tokenizer.batch_decode(
            token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]


@contextmanager
def model_files(source: Location | str) -> Iterator[Path]:
    """Provide the files of a model in a local folder; `source` comes from `locate_model`.

    Raises:
        InputError: there is no model in the folder, or it cannot be downloaded from the hub.
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
    """Download a model from the hub without pickled weights and code; return its local folder.

    The hub id can end with `@` and a commit; the name of the folder is the commit.
    """
    name, _, commit = hub_id.partition("@")
    patterns = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        return Path(snapshot_download(name, revision=commit or None, allow_patterns=patterns))
    except (OSError, HfHubHTTPError) as error:
        raise InputError(
            f"{hub_id!r} is neither an existing folder nor a model that the hub provides: {error}"
        ) from error


def load_model(folder: Path) -> OcrModel:
    """Load a model from a local Hugging Face folder, for training and generation.

    Start, pad and end tokens, lengths and vocabulary are those of the checkpoint. Tokens missing in its
    config are taken from its generation config, its decoder's config, or its tokenizer (start = cls, pad =
    pad, end = eos). Only `no_repeat_ngram_size` is set to 0, because it would forbid `000`. No code of the
    folder is run. The state of the global random generators does not change.

    Raises:
        InputError: a file or a weight is missing or unreadable, the weights are pickled, or a required token
        is
            not set.
    """
    disable_progress_bar()
    _require_safetensors(folder)
    only_data = {"local_files_only": True, "trust_remote_code": False}
    try:
        network = _load_network(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, **only_data)
        image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **only_data)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder} must be a complete VisionEncoderDecoder with tokenizer and processor: {error}"
        ) from error
    if len(tokenizer) > network.config.decoder.vocab_size:
        raise InputError(
            f"the tokenizer of {folder} has {len(tokenizer)} tokens, "
            f"its decoder only {network.config.decoder.vocab_size}"
        )
    settle_tokens(network, tokenizer, folder)
    settle_generation(network, folder)
    use_grey_patches(network)
    network.eval()
    return OcrModel(network=network, tokenizer=tokenizer, image_processor=image_processor, folder=folder)


def _require_safetensors(folder: Path) -> None:
    pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    if pickled and not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} must hold model.safetensors, it has {', '.join(pickled)}: a pickle can run any code. "
            "If you trust it, convert it once with transformers, "
            "VisionEncoderDecoderModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER), "
            "and copy its tokenizer and preprocessor files to NEW_FOLDER"
        )


def _load_network(folder: Path) -> Any:
    config = VisionEncoderDecoderConfig.from_pretrained(folder, local_files_only=True)
    attention = choose_attention(config)
    with torch.random.fork_rng(devices=[]):
        # For weights that the file may lack because no loss reaches them, such as a pooler's.
        torch.manual_seed(0)
        network, loaded = VisionEncoderDecoderModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    missing = sorted(name for name in loaded["missing_keys"] if not name.startswith("encoder.pooler."))
    if missing:
        raise InputError(
            f"{folder} must hold every weight of its config, {len(missing)} are missing, such as {missing[0]}"
        )
    _restore_sinusoids(network)
    log.info("attention: %s", ", ".join(f"{part} {name}" for part, name in attention.items() if part))
    return network


def choose_attention(config: Any) -> dict[str, str]:
    """Return the attention implementation of encoder and decoder: PyTorch's (sdpa) where transformers has it.

    DeiT, ViT and RoBERTa have it; TrOCR's decoder has only the explicit one (eager). The key "" is for the
    whole model.

    Raises:
        InputError: transformers has no such encoder or decoder.
    """
    attention = {"": "sdpa"}
    for part, classes in (("encoder", MODEL_MAPPING), ("decoder", MODEL_FOR_CAUSAL_LM_MAPPING)):
        part_config = getattr(config, part)
        if type(part_config) not in classes:
            raise InputError(f"transformers has no {part} of type {part_config.model_type!r}")
        mapped = classes[type(part_config)]
        model_classes = mapped if isinstance(mapped, tuple) else (mapped,)
        has_sdpa = all(model_class._supports_sdpa for model_class in model_classes)
        attention[part] = "sdpa" if has_sdpa else "eager"
    return attention


def _restore_sinusoids(network: Any) -> None:
    """Compute TrOCR's sinusoidal positions: as neither weights nor buffers they are not loaded."""
    for module in network.modules():
        if isinstance(module, TrOCRSinusoidalPositionalEmbedding) and module.weights.is_meta:
            num_positions = module.weights.shape[0]
            module.weights = module.get_embedding(num_positions, module.embedding_dim, module.padding_idx)


def copy_processor_files(source: Path, target: Path) -> list[str]:
    """Copy the files of tokenizer and processor byte for byte; return their names."""
    names = [name for name in PROCESSOR_FILES if (source / name).is_file()]
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        (target / name).write_bytes((source / name).read_bytes())
    return names
