"""Loading a model that reads lines: any Hugging Face `VisionEncoderDecoder`, such as TrOCR."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_MAPPING,
    AutoImageProcessor,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.models.trocr.modeling_trocr import TrOCRSinusoidalPositionalEmbedding
from transformers.utils.logging import disable_progress_bar

from ocr_ray.errors import InputError
from ocr_ray.model.claims import check_claims, check_json, refuse_pointers
from ocr_ray.model.facts import model_files as model_files
from ocr_ray.model.fit import check_fit, settle_lengths
from ocr_ray.model.grey_patches import use_grey_patches
from ocr_ray.model.refusal import refused
from ocr_ray.model.special_tokens import first, settle_tokens
from ocr_ray.model.tokenizer import load_tokenizer
from ocr_ray.model.tokenizer_json import PROCESSOR_FILES
from ocr_ray.storage.location import Location
from ocr_ray.text.hangul import nfc

log = logging.getLogger(__name__)


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
    max_target_tokens: int
    """The longest label that the decoder has positions for, special tokens included."""
    name: str
    """In messages: where it was loaded from."""

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
        """Return the texts of generated tokens, NFC, without special tokens and spaces at both ends.

        The clean-up of transformers is off, because it would remove a space from `3 , 4`. Byte-level
        tokenizers can add a space at the start.
        """
        texts = self.tokenizer.batch_decode(
            token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [nfc(text.strip()) for text in texts]


def load_model_to_read(source: Location | str, *, is_checked: bool = False) -> OcrModel:
    """Load a model, a folder or a hub id; its local folder may be gone afterwards. See `load_model`."""
    with model_files(source) as folder:
        return replace(load_model(folder, is_checked=is_checked), name=str(source))


def load_model(folder: Path, *, is_checked: bool = False) -> OcrModel:
    """Load a model from a local Hugging Face folder, for training and generation; it reads a blank line.

    Start, pad and end tokens, lengths and vocabulary are those of the checkpoint. Tokens missing in its
    config are taken from its generation config, its decoder's config, or its tokenizer (start = cls, pad =
    pad, end = eos). Only `no_repeat_ngram_size` is set to 0, because it would forbid `000`. No code of the
    folder is run. The state of the global random generators does not change.

    Workers load with `is_checked`: the driver has loaded the same model before, so weights are not checked
    again and no line is read, which takes most of the time.

    Raises:
        InputError: a file or a weight is missing or unreadable, the weights are pickled or not finite, a
            required token is not set, or the parts do not fit together.
    """
    disable_progress_bar()
    _require_safetensors(folder)
    with refused(f"{folder} must be a complete VisionEncoderDecoder with tokenizer and processor"):
        refuse_pointers(folder)
        check_json(folder)
        network = _load_network(folder)
        tokenizer = load_tokenizer(folder)
        image_processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
        settle_tokens(network, tokenizer, folder)
        use_grey_patches(network)
        network.eval()
        with torch.inference_mode():
            if is_checked:
                num_positions = settle_lengths(network, None, folder)
            else:
                num_positions = check_fit(network, tokenizer, image_processor, folder)
    return OcrModel(
        network=network,
        tokenizer=tokenizer,
        image_processor=image_processor,
        folder=folder,
        max_target_tokens=num_positions,
        name=str(folder),
    )


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
    check_claims(config, folder)
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
    _refuse_more_layers(network, loaded["unexpected_keys"], folder)
    restore_sinusoids(network)
    log.info("attention: %s", ", ".join(f"{part} {name}" for part, name in attention.items() if part))
    return network


def _refuse_more_layers(network: Any, unexpected: Iterable[str], folder: Path) -> None:
    """Check that no weights are left over because the config describes fewer layers than the file has.

    Other unused weights, such as another head, do no harm.
    """
    layers = {_name_layer(name) for name in network.state_dict()}
    unused = sorted(name for name in unexpected if _name_layer(name) not in layers)
    if unused:
        raise InputError(
            f"{folder / 'config.json'} must describe every layer of its weights file, it lacks that of "
            f"{len(unused)} weights, such as {unused[0]}"
        )


def _name_layer(name: str) -> str:
    """Return the name of a weight up to the number of its layer; empty if there is none."""
    return name[: match.end()] if (match := re.search(r"\.\d+\.", name)) else ""


def choose_attention(config: Any) -> dict[str, str]:
    """Return the attention implementation of encoder and decoder: PyTorch's (sdpa) where transformers has it.

    DeiT, ViT and RoBERTa have it; TrOCR's decoder has only the explicit one (eager). The key "" is for the
    whole model.

    Raises:
        ValueError: transformers has no such encoder or decoder.
    """
    attention = {"": "sdpa"}
    for part, classes in (("encoder", MODEL_MAPPING), ("decoder", MODEL_FOR_CAUSAL_LM_MAPPING)):
        part_config = getattr(config, part)
        if type(part_config) not in classes:
            raise ValueError(f"transformers has no {part} of type {part_config.model_type!r}")
        mapped = classes[type(part_config)]
        model_classes = mapped if isinstance(mapped, tuple) else (mapped,)
        has_sdpa = all(model_class._supports_sdpa for model_class in model_classes)
        attention[part] = "sdpa" if has_sdpa else "eager"
    return attention


def restore_sinusoids(network: Any) -> None:
    """Compute TrOCR's sinusoidal positions: as neither weights nor buffers they are not loaded.

    As buffers they move to a GPU with the network.
    """
    for module in network.modules():
        if isinstance(module, TrOCRSinusoidalPositionalEmbedding):
            table = module.get_embedding(module.weights.shape[0], module.embedding_dim, module.padding_idx)
            del module.weights
            module.register_buffer("weights", table, persistent=False)


def copy_processor_files(source: Path, target: Path) -> list[str]:
    """Copy the files of tokenizer and processor byte for byte; return their names."""
    names = [name for name in PROCESSOR_FILES if (source / name).is_file()]
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        copyfile(source / name, target / name)  # its errors name the file
    return names
