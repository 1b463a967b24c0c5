import json
import logging
from pathlib import Path

import pytest
import torch
from builders.standin_model import MAX_TOKENS, write_standin
from transformers import GenerationConfig, VisionEncoderDecoderModel

from ocr_ray.errors import InputError
from ocr_ray.model.load import load_model

torch.set_num_threads(1)

TOKENS = ("decoder_start_token_id", "pad_token_id", "eos_token_id", "bos_token_id")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_standin(tmp_path / "model")


def change_json(path: Path, **changes: object) -> None:
    """Set values of a JSON file; None takes a key out."""
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


@pytest.mark.parametrize(("decoder", "error"), [("roberta", IndexError), ("trocr", IndexError)])
def test_the_decoder_has_exactly_this_many_positions(
    tmp_path: Path, decoder: str, error: type[Exception]
) -> None:
    ocr = load_model(write_standin(tmp_path, decoder=decoder))  # type: ignore[arg-type]
    assert ocr.max_target_tokens == MAX_TOKENS
    pixel_values = torch.zeros(1, 3, 64, 64)
    longest = torch.full((1, MAX_TOKENS), 5)
    assert ocr.network(pixel_values=pixel_values, decoder_input_ids=longest).logits.shape[1] == MAX_TOKENS
    with pytest.raises((error, RuntimeError), match=r"out of (range|bounds)"):
        ocr.network(pixel_values=pixel_values, decoder_input_ids=torch.full((1, MAX_TOKENS + 1), 5))


def test_repeated_digits_are_allowed_again_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        generation = load_model(folder).network.generation_config
    assert "no_repeat_ngram_size of 3 is set to 0" in caplog.text
    assert generation.no_repeat_ngram_size == 0


def test_an_older_checkpoint_has_its_settings_in_its_config(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "generation_config.json").unlink()
    change_json(folder / "config.json", no_repeat_ngram_size=3, num_beams=4, length_penalty=2.0)
    with caplog.at_level(logging.WARNING):
        generation = load_model(folder).network.generation_config
    assert "no_repeat_ngram_size of 3 is set to 0" in caplog.text
    assert (generation.no_repeat_ngram_size, generation.num_beams) == (0, 4)
    assert generation.length_penalty == 2.0


@pytest.mark.parametrize(
    ("own", "expected", "tokens"),
    [
        ({}, (MAX_TOKENS, None), MAX_TOKENS),
        ({"max_length": 30}, (30, None), 30),
        ({"max_new_tokens": 30}, (None, 30), 31),
        ({"max_length": 20, "max_new_tokens": 30}, (20, 30), 31),
        ({"max_length": 400}, (MAX_TOKENS, None), MAX_TOKENS),
        ({"max_new_tokens": 400}, (None, MAX_TOKENS - 1), MAX_TOKENS),
    ],
)
def test_lengths_are_those_of_the_checkpoint_within_the_positions_of_its_decoder(
    tmp_path: Path, own: dict[str, int], expected: tuple[int | None, int | None], tokens: int
) -> None:
    ocr = load_model(write_standin(tmp_path, generation=own))
    generation = ocr.network.generation_config
    assert (generation.max_length, generation.max_new_tokens) == expected
    assert ocr.max_generated_tokens == tokens
    # A model that never generates the end token reaches the limit.
    end_bias = ocr.network.decoder.lm_head.bias
    with torch.no_grad():
        end_bias[ocr.end_token_id] = -1e9
    assert ocr.network.generate(torch.zeros(1, 3, 64, 64)).shape == (1, tokens)


@pytest.mark.parametrize("where", ["decoder", "config", "converted", "generation"])
def test_the_20_tokens_that_older_configs_inherited_are_no_limit(
    folder: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = json.loads((folder / "config.json").read_text())
    if where in ("decoder", "config"):  # releases before 4.26
        (folder / "generation_config.json").unlink()
        old = {"max_length": 20, "min_length": 0, "num_beams": 1, "top_k": 50, "forced_eos_token_id": 2}
        decoder = config["decoder"] | (old if where == "decoder" else {})
        change_json(folder / "config.json", decoder=decoder, **({} if where == "decoder" else old))
    if where == "converted":
        change_json(folder / "config.json", decoder=config["decoder"] | {"max_length": 20})
        (folder / "generation_config.json").unlink()
        VisionEncoderDecoderModel.from_pretrained(folder).save_pretrained(folder)
        assert json.loads((folder / "generation_config.json").read_text())["max_length"] == 20
    if where == "generation":
        change_json(folder / "generation_config.json", max_length=20)
    with caplog.at_level(logging.WARNING):
        ocr = load_model(folder)
    assert f"max_length of 20 is the default of transformers and is not used: the limit is {MAX_TOKENS}" in (
        caplog.text
    )
    assert "If 20 tokens are meant, set max_new_tokens to 19" in caplog.text
    end_bias = ocr.network.decoder.lm_head.bias
    with torch.no_grad():
        end_bias[ocr.end_token_id] = -1e9
    pixel_values = torch.zeros(1, 3, 64, 64)
    tokens = ocr.network.generate(pixel_values)
    whole = VisionEncoderDecoderModel.from_pretrained(folder)
    with torch.no_grad():
        whole.decoder.lm_head.bias[ocr.end_token_id] = -1e9
    given = {"max_length": MAX_TOKENS, "no_repeat_ngram_size": 0, "forced_eos_token_id": None}
    assert torch.equal(tokens, whole.generate(pixel_values, **given))
    ocr.network.save_pretrained(folder)
    assert json.loads((folder / "generation_config.json").read_text())["max_length"] == MAX_TOKENS


def test_a_length_beyond_the_decoder_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_model(write_standin(tmp_path, generation={"max_length": 400}))
    assert f"max_length of 400 is set to {MAX_TOKENS}, the positions of its decoder" in caplog.text


@pytest.mark.parametrize(
    "own",
    [
        {"early_stopping": True, "num_beams": 1, "length_penalty": 2.0},
        {"temperature": 0.5, "top_k": 5, "top_p": 0.9, "typical_p": 0.3},
        {"num_beams": 4, "early_stopping": True, "length_penalty": 2.0},
        {"do_sample": True, "temperature": 0.5},
    ],
)
def test_settings_that_transformers_would_not_save_do_not_prevent_checkpoints(
    tmp_path: Path, own: dict[str, object]
) -> None:
    ocr = load_model(write_standin(tmp_path / "model", generation=own))
    ocr.network.save_pretrained(tmp_path / "saved")
    saved = GenerationConfig.from_pretrained(tmp_path / "saved")
    assert saved.no_repeat_ngram_size == 0
    if own.get("num_beams") == 4 or own.get("do_sample"):  # what has an effect stays
        assert {name: getattr(saved, name) for name in own} == own


def test_settings_that_cannot_be_saved_are_refused_before_training(tmp_path: Path) -> None:
    write_standin(tmp_path, generation={"output_scores": True})
    with pytest.raises(InputError, match=r"cannot be saved again, change it: [\s\S]*output_scores"):
        load_model(tmp_path)


def test_the_checkpoints_own_tokens_are_kept(folder: Path) -> None:
    change_json(folder / "config.json", decoder_start_token_id=2)
    change_json(folder / "generation_config.json", decoder_start_token_id=0)
    network = load_model(folder).network
    assert network.config.decoder_start_token_id == 2
    assert network.generation_config.decoder_start_token_id == 0
    change_json(folder / "config.json", eos_token_id=4, pad_token_id=3)
    change_json(folder / "generation_config.json", eos_token_id=None, pad_token_id=None)
    ocr = load_model(folder)
    assert (ocr.network.config.eos_token_id, ocr.network.config.pad_token_id) == (4, 3)
    assert (ocr.network.generation_config.eos_token_id, ocr.network.generation_config.pad_token_id) == (4, 3)
    assert ocr.encode_labels(["8"])[0][-1] == ocr.end_token_id == 4


def test_several_end_tokens_stay_and_the_first_ends_a_label(folder: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        change_json(folder / file, eos_token_id=[2, 4])
    ocr = load_model(folder)
    assert ocr.network.config.eos_token_id == ocr.network.generation_config.eos_token_id == [2, 4]
    assert ocr.encode_labels(["8"])[0].count(2) == 1
    assert ocr.encode_labels(["8"])[0][-1] == 2


def test_tokens_that_the_config_lacks_come_from_the_generation_config_then_the_tokenizer(
    folder: Path,
) -> None:
    change_json(folder / "config.json", **dict.fromkeys(TOKENS))
    change_json(folder / "generation_config.json", decoder_start_token_id=2, eos_token_id=[2, 4])
    network = load_model(folder).network
    assert (network.config.decoder_start_token_id, network.config.eos_token_id) == (2, 2)
    change_json(folder / "generation_config.json", **dict.fromkeys(TOKENS))
    network = load_model(folder).network
    for config in (network.config, network.generation_config):
        assert (config.decoder_start_token_id, config.pad_token_id, config.eos_token_id) == (0, 1, 2)


def test_no_end_token_at_all_is_a_missing_one(folder: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        change_json(folder / file, eos_token_id=[])
    ocr = load_model(folder)
    assert ocr.end_token_id == ocr.network.generation_config.eos_token_id == 2


def test_a_start_token_that_is_set_nowhere_is_refused(folder: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        change_json(folder / file, decoder_start_token_id=None)
    change_json(folder / "tokenizer_config.json", cls_token=None, tokenizer_class="PreTrainedTokenizerFast")
    (folder / "special_tokens_map.json").unlink()
    with pytest.raises(InputError, match="sets decoder_start_token_id"):
        load_model(folder)
