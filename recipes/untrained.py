"""Writes a model with random weights for `recipes/base.sh` to train: `python recipes/untrained.py FOLDER`.

All classes are those of transformers. Edit `make_network` to train another shape, `list_characters` for other
characters.
"""

import sys
from importlib import resources
from pathlib import Path
from string import ascii_letters, digits

import torch
from tokenizers import Tokenizer, decoders, models, processors
from transformers import (
    GenerationConfig,
    MBartConfig,
    PreTrainedTokenizerFast,
    SegformerConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTImageProcessorPil,
)

SEED = 0
HEIGHT_PX, WIDTH_PX = 24, 96
"""Of the first images: lines keep their aspect ratio and are padded with white."""
WIDTH, HEADS = 160, 5
INIT_STD = 0.07
"""Of the decoder. The usual 0.02 is meant for layers 768 wide; with it this one learns to write, but not to
look at the image."""
MAX_TOKENS = 64
"""Of a label; start and end token included."""
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
SIGNS = " !\"#%&'()*+,-./:;<=>?[]{}~°²³·×÷…℃→①②③④⑤□△○☆〈〉"
LABELS = "ㄱㄴㄷㄹㅁㅂ㉠㉡㉢㉣㉤㉥㉮㉯㉰㉱가나다라마바"


def list_characters() -> list[str]:
    """Return the characters that the model can write: signs, and syllables of maths words and problems."""
    texts = resources.files("ocr_ray.textgen").joinpath("maths_words.txt").read_text(encoding="utf-8")
    synthetic = resources.files("ocr_ray.pages.synthetic")
    for name in ("problems.jsonl", "problems.py"):
        texts += synthetic.joinpath(name).read_text(encoding="utf-8")
    syllables = {char for char in texts if "가" <= char <= "힣"}
    return sorted({*SIGNS, *LABELS, *ascii_letters, *digits, *syllables})


def make_tokenizer(characters: list[str]) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each character."""
    vocab = {token: index for index, token in enumerate([*SPECIAL, *characters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_TOKENS,
    )


def make_network(vocab_size: int) -> VisionEncoderDecoderModel:
    """Return the network with random weights; dropout is off, because no line is seen twice."""
    tokens = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
    encoder = SegformerConfig(
        hidden_size=WIDTH,
        num_encoder_blocks=3,
        depths=[1, 1, 2],
        hidden_sizes=[32, 64, WIDTH],
        patch_sizes=[7, 3, 3],
        strides=[4, 2, 2],
        sr_ratios=[2, 1, 1],
        num_attention_heads=[1, 2, HEADS],
        mlp_ratios=[2, 2, 4],
        reshape_last_stage=False,
        drop_path_rate=0.0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    decoder = MBartConfig(
        d_model=WIDTH,
        decoder_layers=2,
        decoder_attention_heads=HEADS,
        decoder_ffn_dim=4 * WIDTH,
        vocab_size=vocab_size,
        max_position_embeddings=MAX_TOKENS,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        scale_embedding=False,
        init_std=INIT_STD,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        decoder_layerdrop=0.0,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        forced_eos_token_id=None,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, **tokens)
    network = VisionEncoderDecoderModel(config=config)
    network.generation_config = GenerationConfig(**tokens, max_length=MAX_TOKENS, num_beams=1)
    return network


def main(folder: Path) -> None:
    """Write the model with its tokenizer and image processor."""
    torch.manual_seed(SEED)
    tokenizer = make_tokenizer(list_characters())
    make_network(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": HEIGHT_PX, "width": WIDTH_PX}
    ViTImageProcessorPil(
        size={f"max_{side}": length for side, length in size.items()},
        do_pad=True,
        pad_size=size,
        image_mean=[1.0, 1.0, 1.0],  # white becomes 0, which is what the processor pads with
        image_std=[0.5, 0.5, 0.5],
    ).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
