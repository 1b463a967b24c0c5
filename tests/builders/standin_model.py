"""Small models of random weights in place of published ones, with the same files and no download."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    DeiTConfig,
    RobertaConfig,
    TrOCRConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)
from transformers.utils.logging import disable_progress_bar

STANDIN_FILES = {
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
}
"""The files of `team-lucid/trocr-small-korean`."""
MAX_TOKENS = 64
IMAGE_SIZE = 64
# So few words that nearly every syllable of other texts takes two or three byte tokens.
TOKENIZER_TEXTS = ("수학 문제 읽기", "탁자 한 개에 다섯 명씩 앉습니다", "3 × 8 = 24", "1000 + 100 = 1100")
SENTENCEPIECE_TEXTS = [
    *(f"{number} × 8 = {8 * number} 그림 {number}개, 탁자 {9 * number}명" for number in range(1, 200)),
    *("수학 문제를 읽고 식을 써 보세요.", "똑같이 나누어 앉으려고 합니다", "12 ÷ 3 + 4 - 5 = □") * 20,
]
GENERATION = {"_from_model_config": True, "no_repeat_ngram_size": 3}
"""As in models that were published from the usual fine-tuning notebooks."""

Encoder = Literal["deit", "vit"]
Decoder = Literal["roberta", "trocr", "trocr-sinusoidal"]


def write_standin(
    folder: Path,
    *,
    encoder: Encoder = "deit",
    decoder: Decoder = "roberta",
    start: str = "<s>",
    generation: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model with the files of `team-lucid/trocr-small-korean`; return its folder.

    `start` is the token that the decoder starts with, `</s>` in Microsoft's models.
    """
    disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    processor = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    tokens = {
        "bos_token_id": vocabulary["<s>"],
        "decoder_start_token_id": vocabulary[start],
        "eos_token_id": vocabulary["</s>"],
        "pad_token_id": vocabulary["<pad>"],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = _make_config(encoder, decoder, len(vocabulary), tokens)
        VisionEncoderDecoderModel(config=config).save_pretrained(folder)
    settings = GENERATION if generation is None else generation
    (folder / "generation_config.json").write_text(json.dumps({**tokens, **settings}))
    return folder


def use_sentencepiece(folder: Path) -> SentencePieceProcessor:
    """Give a model a tokenizer as `microsoft/trocr-small-printed` has it: `sentencepiece.bpe.model` alone.

    Return the reader of that file in Google's own library. As in XLM-RoBERTa, `<s> <pad> </s> <unk>` come
    first, so the token of its piece n is n + 1.
    """
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCEPIECE_TEXTS), model_writer=model, vocab_size=120, minloglevel=2
    )
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    special |= {"sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    options = {"tokenizer_class": "XLMRobertaTokenizer", "sp_model_kwargs": {}}
    (folder / "tokenizer_config.json").write_text(json.dumps(special | options))
    return SentencePieceProcessor(model_proto=model.getvalue())


def _make_config(
    encoder: Encoder, decoder: Decoder, vocab_size: int, tokens: Mapping[str, int]
) -> VisionEncoderDecoderConfig:
    size = {"num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 2}
    encoder_class = {"deit": DeiTConfig, "vit": ViTConfig}[encoder]
    decoder_tokens = {name: tokens[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    decoder_config: RobertaConfig | TrOCRConfig
    if decoder == "roberta":
        decoder_config = RobertaConfig(
            **size,
            **decoder_tokens,
            hidden_size=32,
            vocab_size=vocab_size,
            max_position_embeddings=MAX_TOKENS + tokens["pad_token_id"] + 1,
            type_vocab_size=1,
            is_decoder=True,
            add_cross_attention=True,
        )
    else:
        decoder_config = TrOCRConfig(
            **decoder_tokens,
            vocab_size=vocab_size,
            d_model=24,  # narrower than the encoder, as trocr-small's is
            decoder_layers=2,
            decoder_attention_heads=2,
            decoder_ffn_dim=48,
            max_position_embeddings=MAX_TOKENS,
            cross_attention_hidden_size=32,
            use_learned_position_embeddings=decoder == "trocr",
            is_decoder=True,
            add_cross_attention=True,
        )
    return VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder_class(**size, hidden_size=32, image_size=IMAGE_SIZE, patch_size=16), decoder_config, **tokens
    )


def _write_tokenizer(folder: Path) -> dict[str, int]:
    """Write the files of a byte-level BPE; return its vocabulary."""
    special = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>"}
    special |= {"pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TOKENIZER_TEXTS, trainer)
    vocabulary = tokenizer.get_vocab()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]), trim_offsets=True, add_prefix_space=False
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    options = {"add_prefix_space": False, "errors": "replace", "model_max_length": MAX_TOKENS}
    options |= {"tokenizer_class": "RobertaTokenizer", "trim_offsets": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(special | options))
    return dict(vocabulary)
