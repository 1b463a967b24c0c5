"""A small model of random weights with the files of `team-lucid/trocr-small-korean`, for demos and tests."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    DeiTConfig,
    GenerationConfig,
    RobertaConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.utils.logging import disable_progress_bar

from ocr_ray.storage.strict_json import to_json

TINY_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
TINY_VOCAB_SIZE = 2000
TINY_MAX_TOKENS = 128
TINY_INIT_STD = 0.06


def write_tiny_model(folder: Path, texts: Iterable[str], seed: int) -> None:
    """Write a small model of random weights with the files of `team-lucid/trocr-small-korean`.

    DeiT encoder with patch 32 at 384x384, RoBERTa decoder, byte-level BPE trained on `texts`; about
    1.8 million parameters. The same texts and seed give the same files.
    """
    disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size = _write_tokenizer(folder, texts)
    _write_json(
        folder / "preprocessor_config.json",
        {
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "ViTImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "resample": 2,
            "rescale_factor": 1 / 255,
            "size": {"height": 384, "width": 384},
        },
    )
    tokens = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VisionEncoderDecoderModel(config=_tiny_config(vocab_size, tokens))
    network.generation_config = GenerationConfig(**tokens, max_length=TINY_MAX_TOKENS, no_repeat_ngram_size=0)
    network.save_pretrained(folder)


def _tiny_config(vocab_size: int, tokens: dict[str, int]) -> Any:
    size = {
        "hidden_size": 128,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        # The usual 0.02 is meant for layers 768 wide; with it these need twice as many steps to learn a line.
        "initializer_range": TINY_INIT_STD,
    }
    encoder = DeiTConfig(**size, num_hidden_layers=3, image_size=384, patch_size=32)
    decoder = RobertaConfig(
        **size,
        num_hidden_layers=2,
        vocab_size=vocab_size,
        max_position_embeddings=TINY_MAX_TOKENS + tokens["pad_token_id"] + 1,
        type_vocab_size=1,
        is_decoder=True,
        add_cross_attention=True,
        bos_token_id=tokens["bos_token_id"],
        pad_token_id=tokens["pad_token_id"],
        eos_token_id=tokens["eos_token_id"],
    )
    return VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, **tokens)


def _write_tokenizer(folder: Path, texts: Iterable[str]) -> int:
    """Write the files of a RoBERTa tokenizer; return the size of its vocabulary."""
    start, pad, end, unknown, mask = TINY_SPECIAL_TOKENS
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCAB_SIZE,
        special_tokens=list(TINY_SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, 2), (start, 0), trim_offsets=True, add_prefix_space=False
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    special = {
        "bos_token": start,
        "cls_token": start,
        "eos_token": end,
        "mask_token": mask,
        "pad_token": pad,
        "sep_token": end,
        "unk_token": unknown,
    }
    _write_json(folder / "special_tokens_map.json", special)
    options = {"add_prefix_space": False, "errors": "replace", "trim_offsets": True}
    _write_json(
        folder / "tokenizer_config.json",
        {**special, **options, "model_max_length": TINY_MAX_TOKENS, "tokenizer_class": "RobertaTokenizer"},
    )
    return int(tokenizer.get_vocab_size())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(to_json(value, indent=2) + "\n", encoding="utf-8")
