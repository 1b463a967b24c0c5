import json
import logging
from pathlib import Path

import pytest
import torch
from training_data import draw_text, make_texts, make_tiny_model
from transformers import AutoTokenizer, VisionEncoderDecoderModel

from ocr_ray.errors import InputError
from ocr_ray.storage import copy_files, list_files, locate, locate_model
from ocr_ray.training.model import (
    PROCESSOR_FILES,
    OcrModel,
    copy_processor_files,
    load_model,
    model_files,
)
from ocr_ray.training.tiny import write_tiny_model

torch.set_num_threads(1)

TROCR_FILES = {
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


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OcrModel:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def folder(tmp_path: Path, ocr: OcrModel) -> Path:
    """A copy of the tiny model that may be changed."""
    target = tmp_path / "copy"
    copy_files(locate(str(ocr.folder)), locate(str(target)), sorted(TROCR_FILES))
    return target


def change_json(path: Path, **changes: object) -> None:
    """Set values of a JSON file; None takes a key out."""
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def test_the_tiny_model_has_the_files_of_a_trocr(ocr: OcrModel) -> None:
    assert set(list_files(locate(str(ocr.folder)))) == TROCR_FILES


def test_the_tiny_model_is_the_same_for_the_same_texts_and_seed(tmp_path: Path, ocr: OcrModel) -> None:
    random_before = torch.get_rng_state()
    write_tiny_model(tmp_path / "again", make_texts(200), 0)
    write_tiny_model(tmp_path / "other", make_texts(200), 1)
    assert torch.equal(torch.get_rng_state(), random_before)
    for name in TROCR_FILES:
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (ocr.folder / name).read_bytes(), name
        assert (again == (tmp_path / "other" / name).read_bytes()) == (name != "model.safetensors"), name


def test_transformers_alone_loads_the_tiny_model_and_reads_with_it(ocr: OcrModel) -> None:
    network = VisionEncoderDecoderModel.from_pretrained(ocr.folder)
    tokenizer = AutoTokenizer.from_pretrained(ocr.folder)
    image = draw_text("7 + 5").convert("RGB")
    pixel_values = ocr.image_processor(images=[image], return_tensors="pt")["pixel_values"]
    token_ids = network.generate(pixel_values, max_length=12)
    assert token_ids.shape[0] == 1
    assert isinstance(tokenizer.batch_decode(token_ids, skip_special_tokens=True)[0], str)


@pytest.mark.parametrize("text", ["탁자 한 개에 $6$ 명씩", "3 × 8 = 24 , □ .", "㉠ ÷ 000", "don't  stop"])
def test_any_text_survives_encoding_and_decoding(ocr: OcrModel, text: str) -> None:
    assert ocr.decode(ocr.encode_labels([text])) == [text]


def test_the_decoder_holds_its_positions_less_those_of_robertas_padding(ocr: OcrModel) -> None:
    assert ocr.network.config.decoder.max_position_embeddings == 130
    assert ocr.max_target_tokens == 128
    longest = torch.full((1, 128), 5)
    pixel_values = torch.zeros(1, 3, 384, 384)
    assert ocr.network(pixel_values=pixel_values, decoder_input_ids=longest).logits.shape[1] == 128
    with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
        ocr.network(pixel_values=pixel_values, decoder_input_ids=torch.full((1, 129), 5))


def test_repeated_digits_are_allowed_again_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_json(folder / "generation_config.json", no_repeat_ngram_size=3, max_length=400, num_beams=4)
    with caplog.at_level(logging.WARNING):
        generation = load_model(folder).network.generation_config
    assert "no_repeat_ngram_size of 3 is set to 0" in caplog.text
    assert (generation.no_repeat_ngram_size, generation.max_length, generation.num_beams) == (0, 128, 4)


def test_the_checkpoints_own_tokens_are_kept(folder: Path) -> None:
    change_json(folder / "config.json", decoder_start_token_id=2)
    change_json(folder / "generation_config.json", decoder_start_token_id=0)
    assert load_model(folder).network.config.decoder_start_token_id == 2


def test_tokens_that_the_config_lacks_come_from_the_tokenizer(folder: Path) -> None:
    names = ("decoder_start_token_id", "pad_token_id", "eos_token_id", "bos_token_id")
    for file in ("config.json", "generation_config.json"):
        change_json(folder / file, **dict.fromkeys(names))
    network = load_model(folder).network
    for place in (network.config, network.generation_config):
        assert (place.decoder_start_token_id, place.pad_token_id, place.eos_token_id) == (0, 1, 2)


def test_a_start_token_that_is_set_nowhere_is_refused(folder: Path) -> None:
    for file in ("config.json", "generation_config.json"):
        change_json(folder / file, decoder_start_token_id=None)
    change_json(folder / "tokenizer_config.json", cls_token=None, tokenizer_class="PreTrainedTokenizerFast")
    (folder / "special_tokens_map.json").unlink()
    with pytest.raises(InputError, match="sets decoder_start_token_id"):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_an_incomplete_folder_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match="must be a complete VisionEncoderDecoder"):
        load_model(folder)


def test_cut_off_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="must be a complete VisionEncoderDecoder"):
        load_model(folder)


def test_processor_files_are_copied_byte_for_byte(tmp_path: Path, ocr: OcrModel) -> None:
    names = copy_processor_files(ocr.folder, tmp_path / "copy")
    assert set(names) == TROCR_FILES & set(PROCESSOR_FILES) == set(list_files(locate(str(tmp_path / "copy"))))
    for name in names:
        assert (tmp_path / "copy" / name).read_bytes() == (ocr.folder / name).read_bytes()


def test_a_local_folder_is_used_in_place(ocr: OcrModel) -> None:
    with model_files(locate_model(str(ocr.folder))) as folder:
        assert folder == ocr.folder


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"with config\.json, .* has none"),
        model_files(locate(str(tmp_path))),
    ):
        pass


@pytest.mark.parametrize("source", ["./nowhere/model", "/nowhere/model", "a/b/c"])
def test_a_folder_that_is_not_there_is_no_hub_id(source: str) -> None:
    with pytest.raises(InputError, match="existing folder, s3://bucket/key or a hub id"):
        locate_model(source)


def test_a_hub_model_that_cannot_be_had_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="nor a model that the hub gives"), model_files("nobody/nothing"):
        pass


def test_a_model_is_fetched_from_s3(ocr: OcrModel, bucket: str) -> None:
    copy_files(locate(str(ocr.folder)), locate(f"{bucket}/models/tiny"), sorted(TROCR_FILES))
    with model_files(locate_model(f"{bucket}/models/tiny")) as folder:
        loaded = load_model(folder)
        assert list_files(locate(str(folder))) == list_files(locate(str(ocr.folder)))
    state = loaded.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in ocr.network.state_dict().items())
