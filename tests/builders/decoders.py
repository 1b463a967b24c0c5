"""Small networks of random weights with each kind of decoder that is known to work."""

from typing import Any

import torch
from transformers import AutoConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

IMAGE_SIZE = 32
_SMALL = {"vocab_size": 40, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
_BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_BART = {"d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 16}
_TROCR = {**_BART, "cross_attention_hidden_size": 16}
_GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 20}
DECODERS: list[tuple[str, dict[str, Any]]] = [
    ("bert", {**_BERT, "max_position_embeddings": 20}),
    ("electra", {**_BERT, "embedding_size": 8, "max_position_embeddings": 20}),
    ("roberta", {**_BERT, "max_position_embeddings": 22}),
    ("xlm-roberta", {**_BERT, "max_position_embeddings": 30, "pad_token_id": 5}),
    ("camembert", {**_BERT, "max_position_embeddings": 22}),
    ("bart", {**_BART, "max_position_embeddings": 20}),
    ("mbart", {**_BART, "max_position_embeddings": 20}),
    ("trocr", {**_TROCR, "max_position_embeddings": 20}),
    ("gpt2", _GPT2),
]
"""The type of each decoder, and settings of its own. All have 20 positions, but xlm-roberta has 24."""
DECODER_IDS = [kind for kind, _ in DECODERS]


def build_network(kind: str, own: dict[str, Any]) -> Any:
    """Return a network for images of `IMAGE_SIZE` in evaluation mode."""
    decoder = AutoConfig.for_model(kind, **{**_SMALL, **own}, is_decoder=True, add_cross_attention=True)
    encoder = ViTConfig(**_BERT, image_size=IMAGE_SIZE, patch_size=16)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, decoder, pad_token_id=decoder.pad_token_id, decoder_start_token_id=0, eos_token_id=2
    )
    torch.manual_seed(0)
    return VisionEncoderDecoderModel(config=config).eval()
