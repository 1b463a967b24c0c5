"""Damage to model folders: each function changes a good folder so that it cannot be a model any more."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], None]

CONFIG, GENERATION, WEIGHTS = "config.json", "generation_config.json", "model.safetensors"
PROCESSOR, TOKENIZER, TOKENIZER_CONFIG = "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"
INDEX = "model.safetensors.index.json"


def write(name: str, content: bytes | str) -> Damage:
    """Replace a file."""
    return lambda folder: (folder / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def change(name: str, *path: str, to: Any) -> Damage:
    """Set a value inside a JSON file."""

    def damage(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to
        (folder / name).write_text(json.dumps(document))

    return damage


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def all_of(*damages: Damage) -> Damage:
    def damage(folder: Path) -> None:
        for one in damages:
            one(folder)

    return damage


def change_weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        edit(weights)
        save_file(weights, folder / WEIGHTS, {"format": "pt"})

    return damage


def link_to_itself(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / name)

    return damage


def make_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def cut(name: str, size_bytes: int) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size_bytes])


def _fill(value: float) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: weights["encoder.embeddings.cls_token"].fill_(value)


def _convert(weights: dict[str, torch.Tensor], kind: torch.dtype) -> None:
    weights.update({name: value.to(kind) for name, value in weights.items()})


JSON_DAMAGE: dict[str, bytes | str] = {
    "empty": b"",
    "cut off": b'{"model_type": "vision',
    "null": "null",
    "a list": "[1, 2]",
    "a number": "7",
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "deep": '{"a":' * 200_000,
}

DAMAGES: dict[str, Damage] = {
    **{
        f"{name} {kind}": write(name, content)
        for name in (CONFIG, PROCESSOR, TOKENIZER, TOKENIZER_CONFIG, GENERATION)
        for kind, content in JSON_DAMAGE.items()
    },
    **{f"{name} missing": remove(name) for name in (CONFIG, PROCESSOR, WEIGHTS)},
    **{f"{name} in a loop": link_to_itself(name) for name in (CONFIG, PROCESSOR, WEIGHTS, TOKENIZER)},
    **{f"{name} a folder": make_folder(name) for name in (CONFIG, WEIGHTS)},
    **{
        f"{part} {kind}": change(CONFIG, part, to=value)
        for part in ("encoder", "decoder")
        for kind, value in {
            "null": None,
            "a list": [],
            "a text": "vit",
            "of no type": {},
            "of an unknown type": {"model_type": "no-such-model"},
            "of a wrong type": {"model_type": "vit" if part == "decoder" else "whisper"},
            "a pair": {"model_type": "vision-encoder-decoder", "encoder": {}, "decoder": {}},
            "of type 7": {"model_type": 7},
        }.items()
    },
    **{
        f"{part} {key} {value}"[:60]: change(CONFIG, part, key, to=value)
        for part in ("encoder", "decoder")
        for key, values in {
            "num_hidden_layers": (0, -1, 1, 5, None, "12", 1.5, [], 10**6, 10**12),
            "hidden_size": (0, -1, "x", 33, 10**6, 10**12),
            "num_attention_heads": (0, -1, 7, 10**12),
            "intermediate_size": (0, None, 10**7),
            "hidden_act": ("no-such-function", 7),
            "num_labels": (10**9, "x"),
            "id2label": ([], 7),
            "hidden_dropout_prob": (7, "x"),
        }.items()
        for value in values
    },
    **{
        f"encoder {key} {value}": change(CONFIG, "encoder", key, to=value)
        for key, values in {
            "image_size": (0, [], 65, 96, 10**5, 10**12),
            "patch_size": (0, [], 17, 10**9),
            "num_channels": (0, 1, 4, 10**9),
        }.items()
        for value in values
    },
    **{
        f"decoder {key} {value}": change(CONFIG, "decoder", key, to=value)
        for key, values in {
            "vocab_size": (0, -1, 7, 10**9),
            "max_position_embeddings": (0, 7, 10**12),
            "type_vocab_size": (0, 10**9),
            "pad_token_id": (-7, 10**6, "x"),
            "add_cross_attention": (False,),
            "cross_attention_hidden_size": (48,),
        }.items()
        for value in values
    },
    **{
        f"{file} {key} {value}": all_of(
            *(change(name, key, to=value) for name in dict.fromkeys((CONFIG, file)))
        )
        for file in (CONFIG, GENERATION)
        for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id")
        for value in (-7, 10**6, "</s>", 1.5, {})
    },
    "quantized": change(
        CONFIG, "quantization_config", to={"quant_method": "bitsandbytes", "load_in_4bit": True}
    ),
    "another model": write(CONFIG, '{"model_type": "bert", "hidden_size": 32}'),
    "a model of the encoder alone": write(CONFIG, '{"model_type": "vit"}'),
    "one that names itself": write(CONFIG, '{"_name_or_path": ".", "model_type": "vision-encoder-decoder"}'),
    "generation max_length text": change(GENERATION, "max_length", to="x"),
    "generation max_length negative": change(GENERATION, "max_length", to=-5),
    "generation max_length fraction": change(GENERATION, "max_length", to=20.5),
    "generation max_new_tokens negative": change(GENERATION, "max_new_tokens", to=-5),
    "generation of several": change(GENERATION, "num_return_sequences", to=3),
    "generation to a text": change(GENERATION, "stop_strings", to=["."]),
    "generation suppresses": change(GENERATION, "suppress_tokens", to="x"),
    "generation repeats": change(GENERATION, "repetition_penalty", to=-1.0),
    "tokenizer of no type": change(TOKENIZER, "model", "type", to="NoSuchModel"),
    "tokenizer without model": change(TOKENIZER, "model", to={}),
    "tokenizer without words": change(TOKENIZER, "model", "vocab", to=[]),
    "tokenizer with wrong words": change(TOKENIZER, "model", "vocab", to={"a": "b"}),
    "tokenizer with a wrong merge": change(TOKENIZER, "model", "merges", to=["a"]),
    "tokenizer with a wrong normalizer": change(TOKENIZER, "normalizer", to={"type": "No"}),
    "tokenizer of an unknown class": all_of(
        remove(TOKENIZER), change(TOKENIZER_CONFIG, "tokenizer_class", to="NoSuchTokenizer")
    ),
    "tokenizer of class 7": change(TOKENIZER_CONFIG, "tokenizer_class", to=7),
    "tokenizer with wrong added tokens": change(TOKENIZER_CONFIG, "added_tokens_decoder", to={"x": 1}),
    "tokenizer without vocabulary": all_of(remove(TOKENIZER), remove("vocab.json"), remove("merges.txt")),
    "tokenizer of a damaged sentencepiece model": all_of(
        remove(TOKENIZER),
        remove("vocab.json"),
        remove("merges.txt"),
        change(TOKENIZER_CONFIG, "tokenizer_class", to="XLMRobertaTokenizer"),
        write("sentencepiece.bpe.model", b"\x0a\x05no model"),
    ),
    **{
        f"processor {key} {value}": change(PROCESSOR, key, to=value)
        for key, values in {
            "image_processor_type": ("NoSuchProcessor", 7),
            "size": (0, -1, "x", {}, {"height": -1, "width": 64}, {"height": 0, "width": 0}, 224),
            "image_mean": (7, "x", [0.5], [0.5] * 9, None),
            "image_std": ([0, 0, 0], "x"),
            "rescale_factor": ("x", 1e300),
            "resample": (99, "x"),
        }.items()
        for value in values
    },
    "processor of huge images": change(PROCESSOR, "size", to={"height": 10**6, "width": 10**6}),
    "processor that crops": all_of(
        change(PROCESSOR, "do_center_crop", to=True), change(PROCESSOR, "crop_size", to=10**9)
    ),
    "weights empty": write(WEIGHTS, b""),
    "weights of another kind": write(WEIGHTS, b"PK\x03\x04" * 100),
    "weights a pickle": write(WEIGHTS, b"\x80\x02}q\x00."),
    "weights with a long header": write(WEIGHTS, struct.pack("<Q", 2**62) + b"{}"),
    "weights with no header": write(WEIGHTS, struct.pack("<Q", 2) + b"{}"),
    "weights cut off": cut(WEIGHTS, 20_000),
    "weights NaN": change_weights(_fill(float("nan"))),
    "weights infinite": change_weights(_fill(float("inf"))),
    "weights too large": change_weights(_fill(3e38)),
    **{
        f"weights {kind}": change_weights(lambda weights, kind=kind: _convert(weights, kind))
        for kind in (torch.int8, torch.bool, torch.complex64)
    },
    "weights of another shape": change_weights(
        lambda weights: weights.update({"encoder.embeddings.cls_token": torch.zeros(1, 1, 7)})
    ),
    "weights lost": change_weights(lambda weights: weights.pop("encoder.embeddings.cls_token")),
    "weights of another model": change_weights(
        lambda weights: [weights.pop(name) for name in list(weights) if name.startswith("decoder")]
    ),
    "index without shards": all_of(
        remove(WEIGHTS), write(INDEX, '{"weight_map": {"a": "no-such.safetensors"}}')
    ),
    **{
        f"index of {name}": all_of(
            write("shard.safetensors", b""),
            write(INDEX, json.dumps({"weight_map": {"encoder.embeddings.cls_token": name}})),
        )
        for name in ("../good/model.safetensors", "/etc/hosts", 7)
    },
    "index a list": all_of(remove(WEIGHTS), write(INDEX, "[]")),
    "index of itself": all_of(remove(WEIGHTS), write(INDEX, json.dumps({"weight_map": {"a": INDEX}}))),
}
"""Folders that cannot be used, by what is wrong with them."""
