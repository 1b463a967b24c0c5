"""The parts of a model are checked against each other with a blank line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.decoders import DECODER_IDS, DECODERS, build_network
from builders.standin_model import IMAGE_SIZE, write_standin
from safetensors.torch import load_file, save_file

from ocr_ray.errors import InputError
from ocr_ray.model.fit import measure_positions
from ocr_ray.model.load import load_model, load_model_to_read
from ocr_ray.model.read import inspect_model
from ocr_ray.storage.location import locate

torch.set_num_threads(1)


@pytest.mark.parametrize(("kind", "own"), DECODERS, ids=DECODER_IDS)
def test_positions_are_as_many_as_the_longest_label_that_transformers_reads(
    kind: str, own: dict[str, Any], tmp_path: Path
) -> None:
    network, pixel_values = build_network(kind, own), torch.rand(1, 3, 32, 32)

    def read(num_tokens: int) -> None:
        network(pixel_values=pixel_values, decoder_input_ids=torch.full((1, num_tokens), 7))

    with torch.inference_mode():
        limit = measure_positions(network, network.encoder(pixel_values)[0], tmp_path)
        assert measure_positions(network, None, tmp_path) == limit
        read(limit)
        with pytest.raises((IndexError, RuntimeError)):
            read(limit + 1)
    assert limit == (24 if kind == "xlm-roberta" else 20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_standin(tmp_path / "model")


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_part(folder: Path, part: str, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", **{part: config[part] | changes})


def test_a_processor_of_another_size_than_the_encoder_is_refused_with_both(folder: Path) -> None:
    change_json(folder / "preprocessor_config.json", size={"height": 96, "width": 224})
    message = rf"the image processor of {folder} makes 224x96 pixels .* its encoder takes {IMAGE_SIZE} pixels"
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_a_processor_that_divides_by_zero_is_refused(folder: Path) -> None:
    change_json(folder / "preprocessor_config.json", image_std=[0.0, 0.0, 0.0])
    with pytest.raises(InputError, match=rf"the image processor of {folder} must make finite numbers"):
        load_model(folder)


def test_a_decoder_without_cross_attention_is_refused(folder: Path) -> None:
    change_part(folder, "decoder", add_cross_attention=False)
    with pytest.raises(
        InputError, match=rf"the decoder of {folder} must read a label .*add_cross_attention=True"
    ):
        load_model(folder)


@pytest.mark.parametrize("name", ["decoder_start_token_id", "bos_token_id", "pad_token_id", "eos_token_id"])
def test_a_token_outside_the_vocabulary_is_refused_with_its_file(folder: Path, name: str) -> None:
    vocab_size = json.loads((folder / "config.json").read_text())["decoder"]["vocab_size"]
    change_json(folder / "generation_config.json", **{name: vocab_size})
    message = rf"{name} in {folder}/generation_config.json must be one of the {vocab_size} tokens"
    with pytest.raises(InputError, match=message):
        load_model(folder)
    change_json(folder / "generation_config.json", **{name: vocab_size - 1})
    load_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_refused_with_its_file(folder: Path, value: float) -> None:
    # The embedding of a token that a blank line never reads.
    name = "decoder.roberta.embeddings.word_embeddings.weight"
    weights = load_file(folder / "model.safetensors")
    weights[name][200, 3] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"every weight in {folder}/model.safetensors must .* {name} has"):
        load_model(folder)


@pytest.mark.parametrize("max_length", [None, 20, 30, 400])
def test_a_model_that_was_checked_before_loads_with_the_same_settings(
    folder: Path, max_length: int | None
) -> None:
    change_json(folder / "generation_config.json", max_length=max_length)
    first, second = load_model(folder), load_model_to_read(locate(str(folder)), is_checked=True)
    assert second.max_target_tokens == first.max_target_tokens
    assert second.network.generation_config.to_dict() == first.network.generation_config.to_dict()
    assert second.network.config.to_dict() == first.network.config.to_dict()
    assert second.name == str(folder)


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("generation_config.json", {"num_beam_groups": 2, "diversity_penalty": 0.5}),
        ("generation_config.json", {"return_dict_in_generate": True}),
        ("generation_config.json", {"force_words_ids": [[5]]}),
        ("config.json", {"return_dict": False}),
    ],
)
def test_settings_that_prevent_only_beam_search_are_refused_for_it(
    folder: Path, file: str, setting: dict[str, object]
) -> None:
    change_json(folder / file, **setting)
    inspect_model(locate(str(folder)))
    with pytest.raises(InputError, match=rf"the configs of {folder} must allow beam search"):
        inspect_model(locate(str(folder)), num_beams=2)


def test_finite_weights_with_infinite_logits_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["decoder.lm_head.dense.weight"] *= 1e38
    weights["decoder.lm_head.dense.bias"] += 3e38
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=rf"the weights in {folder}/model.safetensors must give finite"):
        load_model(folder)


def test_a_config_of_fewer_layers_than_the_weights_is_refused(folder: Path) -> None:
    change_part(folder, "encoder", num_hidden_layers=1)
    with pytest.raises(InputError, match=r"config.json must describe every layer .* encoder.layers?\.1\."):
        load_model(folder)


def test_loading_changes_no_random_state(folder: Path) -> None:
    before = torch.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)
