import json
import logging
from itertools import product
from pathlib import Path

import pytest
import torch
from builders.standin_model import STANDIN_FILES, Decoder, Encoder, write_standin
from builders.training_data import draw_text, make_texts, make_tiny_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, VisionEncoderDecoderModel

from ocr_ray.errors import InputError
from ocr_ray.model.load import (
    PROCESSOR_FILES,
    OcrModel,
    choose_attention,
    copy_processor_files,
    load_model,
    model_files,
)
from ocr_ray.model.precision import make_optimizer
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.storage.location import copy_files, list_files, locate, locate_model
from ocr_ray.training.steps import line_losses

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OcrModel:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def folder(tmp_path: Path, ocr: OcrModel) -> Path:
    """A copy of the tiny model that may be changed."""
    target = tmp_path / "copy"
    copy_files(locate(str(ocr.folder)), locate(str(target)), sorted(STANDIN_FILES))
    return target


def change_json(path: Path, **changes: object) -> None:
    """Set values of a JSON file; None takes a key out."""
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def test_the_tiny_model_has_the_files_of_a_trocr(ocr: OcrModel) -> None:
    assert set(list_files(locate(str(ocr.folder)))) == STANDIN_FILES


def test_the_tiny_model_is_the_same_for_the_same_texts_and_seed(tmp_path: Path, ocr: OcrModel) -> None:
    random_before = torch.get_rng_state()
    write_tiny_model(tmp_path / "again", make_texts(200), 0)
    write_tiny_model(tmp_path / "other", make_texts(200), 1)
    assert torch.equal(torch.get_rng_state(), random_before)
    for name in STANDIN_FILES:
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


def read_image(ocr: OcrModel, text: str) -> torch.Tensor:
    """Return a drawn text as the model's input, shape (1, 3, H, W)."""
    image = draw_text(text).convert("RGB")
    pixel_values: torch.Tensor = ocr.image_processor(images=[image], return_tensors="pt")["pixel_values"]
    return pixel_values


KINDS: list[tuple[Encoder, Decoder]] = list(
    product(("deit", "vit"), ("roberta", "trocr", "trocr-sinusoidal"))
)


@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_every_kind_of_model_trains_saves_reloads_and_reads(
    tmp_path: Path, encoder: Encoder, decoder: Decoder
) -> None:
    start = "<s>" if decoder == "roberta" else "</s>"
    ocr = load_model(write_standin(tmp_path / "model", encoder=encoder, decoder=decoder, start=start))
    text = "사과 일곱 개 100 + 100"
    labels = torch.tensor(ocr.encode_labels([text]))
    assert labels.shape[1] > len(text)  # syllables of several tokens
    pixel_values = read_image(ocr, "100 + 100")
    before = {name: value.clone() for name, value in ocr.network.state_dict().items()}
    ocr.network.train()
    line_losses(ocr.network, pixel_values, labels).sum().backward()
    make_optimizer([p for p in ocr.network.parameters() if p.grad is not None], lr=1e-2).step()
    ocr.network.eval()
    ocr.network.save_pretrained(tmp_path / "saved")
    copy_processor_files(ocr.folder, tmp_path / "saved")
    assert set(list_files(locate(str(tmp_path / "saved")))) == STANDIN_FILES
    again = load_model(tmp_path / "saved")
    trained = ocr.network.state_dict()
    assert trained.keys() == again.network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, trained[name]) for name, value in again.network.state_dict().items())
    unchanged = [name for name, value in trained.items() if torch.equal(value, before[name])]
    assert all(name.startswith("encoder.pooler.") for name in unchanged)
    tokens = ocr.network.generate(pixel_values)
    assert torch.equal(tokens, again.network.generate(pixel_values))
    assert tokens[0, 0] == ocr.tokenizer.convert_tokens_to_ids(start)
    assert again.network.generation_config.to_dict() == ocr.network.generation_config.to_dict()
    own = VisionEncoderDecoderModel.from_pretrained(tmp_path / "saved", output_loading_info=True)[1]
    assert not own["missing_keys"]
    assert not own["unexpected_keys"]


@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_attention_is_pytorchs_where_transformers_has_it(
    tmp_path: Path, encoder: Encoder, decoder: Decoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ocr_ray"):
        network = load_model(write_standin(tmp_path, encoder=encoder, decoder=decoder)).network
    expected = "sdpa" if decoder == "roberta" else "eager"
    assert choose_attention(network.config) == {"": "sdpa", "encoder": "sdpa", "decoder": expected}
    assert network.encoder.config._attn_implementation == "sdpa"
    assert network.decoder.config._attn_implementation == expected
    assert f"attention: encoder sdpa, decoder {expected}" in caplog.text


def test_sinusoidal_positions_move_to_a_device_with_the_network(tmp_path: Path) -> None:
    network = load_model(write_standin(tmp_path, decoder="trocr-sinusoidal")).network
    table = network.decoder.model.decoder.embed_positions.weights
    network.decoder.to("meta")
    assert network.decoder.model.decoder.embed_positions.weights.is_meta
    assert not table.is_meta
    assert "decoder.model.decoder.embed_positions.weights" not in network.state_dict()


def test_syllables_of_several_tokens_are_learnt_and_read_back(tmp_path: Path) -> None:
    ocr = load_model(write_standin(tmp_path))
    texts = ["값 뷁 100 + 100 + 100", "닭 읽기 ㉠ ÷ □"]
    ids = ocr.encode_labels(texts)
    longest = max(map(len, ids))
    labels = torch.tensor([row + [-100] * (longest - len(row)) for row in ids])
    pixel_values = torch.cat([read_image(ocr, text) for text in ("100", "+ = -")])
    optimizer = make_optimizer(ocr.network.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad(set_to_none=True)
        line_losses(ocr.network, pixel_values, labels).sum().backward()
        optimizer.step()
    assert ocr.decode(ocr.network.generate(pixel_values)) == texts


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_are_refused_with_how_to_convert_them(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(InputError, match=rf"must hold model\.safetensors, it has {name}.*convert it once"):
        load_model(folder)


def test_no_code_of_a_model_is_run(folder: Path) -> None:
    ran = folder / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Own: pass\n")
    for file, key in (
        ("tokenizer_config.json", "AutoTokenizer"),
        ("preprocessor_config.json", "AutoImageProcessor"),
    ):
        change_json(folder / file, auto_map={key: ["own.Own", None]} if "Tok" in key else {key: "own.Own"})
    config = json.loads((folder / "config.json").read_text())
    own = {"auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    change_json(
        folder / "config.json", encoder=config["encoder"] | own, decoder=config["decoder"] | own, **own
    )
    load_model(folder)
    assert not ran.exists()


def test_a_kind_that_transformers_lacks_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    change_json(folder / "config.json", encoder=config["encoder"] | {"model_type": "no-such-encoder"})
    with pytest.raises(InputError, match="must be a complete VisionEncoderDecoder"):
        load_model(folder)
    change_json(folder / "config.json", encoder=config["encoder"], decoder={"model_type": "vit"})
    with pytest.raises(InputError, match=r"copy must be .*transformers has no decoder of type 'vit'"):
        load_model(folder)


def test_a_missing_weight_is_refused_but_for_a_pooler_that_nothing_reads(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    poolers = {name for name in weights if "pooler" in name}
    assert poolers
    save_file(
        {name: value for name, value in weights.items() if name not in poolers},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    random_before = torch.get_rng_state()
    one = load_model(folder).network.state_dict()
    assert torch.equal(torch.get_rng_state(), random_before)
    torch.manual_seed(3)
    two = load_model(folder).network.state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    lost = "decoder.roberta.encoder.layer.1.crossattention.self.query.weight"
    save_file(
        {name: value for name, value in weights.items() if name != lost},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(InputError, match=f"must hold every weight .* 1 are missing, such as {lost}"):
        load_model(folder)


def test_a_tokenizer_larger_than_its_decoder_is_refused(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<{number}>" for number in range(2000)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(InputError, match=r"has \d+ tokens, its decoder only \d+"):
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
    assert (
        set(names) == STANDIN_FILES & set(PROCESSOR_FILES) == set(list_files(locate(str(tmp_path / "copy"))))
    )
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


def test_a_hub_model_that_cannot_be_downloaded_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="nor a model that the hub provides"), model_files("nobody/nothing"):
        pass


def test_a_model_is_fetched_from_s3(ocr: OcrModel, bucket: str) -> None:
    copy_files(locate(str(ocr.folder)), locate(f"{bucket}/models/tiny"), sorted(STANDIN_FILES))
    with model_files(locate_model(f"{bucket}/models/tiny")) as folder:
        loaded = load_model(folder)
        assert list_files(locate(str(folder))) == list_files(locate(str(ocr.folder)))
    state = loaded.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in ocr.network.state_dict().items())
    copy_files(locate(str(ocr.folder)), locate(f"{bucket}/models/partial"), ["config.json"])
    with (
        pytest.raises(InputError, match=rf"^{bucket}/models/partial must be a complete"),
        model_files(locate_model(f"{bucket}/models/partial")) as folder,
    ):
        load_model(folder)
