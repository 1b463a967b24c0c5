import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders.evaluation_data import make_line, write_lines, write_model

from ocr_ray.errors import InputError
from ocr_ray.evaluation.config import EvaluationConfig
from ocr_ray.evaluation.inputs import EvaluationInputs
from ocr_ray.evaluation.job import reserve_output, resolve_inputs
from ocr_ray.evaluation.predict import read_part
from ocr_ray.evaluation.predictions import PREDICTIONS_SCHEMA, find_finished, part_path, write_predictions
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.options import Decoding
from ocr_ray.model.pixels import make_pixel_values
from ocr_ray.model.read import mean_before_end, read_images
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.storage.location import locate


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "best_ocr", seed=1)


@pytest.fixture(scope="module")
def model(model_folder: Path) -> OcrModel:
    return load_model(model_folder)


@pytest.fixture
def lines_uris(tmp_path: Path) -> tuple[str, str]:
    rendered, cropped = str(tmp_path / "lines"), str(tmp_path / "crops")
    write_lines(rendered, [[make_line(number) for number in range(5)], []])
    write_lines(cropped, [[make_line(90, page_id="p1"), make_line(91, page_id="p2")]])
    return rendered, cropped


def resolve(
    model_uri: Path | str, lines_uris: tuple[str, ...], out_uri: Path | str
) -> tuple[EvaluationInputs, EvaluationConfig]:
    config = EvaluationConfig(
        model_uri=str(model_uri), lines_uri=lines_uris, out_uri=str(out_uri), batch_size=2, num_workers=2
    )
    return resolve_inputs(config), config


def test_the_predictions_of_a_part_are_in_the_order_of_its_lines(
    model: OcrModel, model_folder: Path, lines_uris: tuple[str, str], tmp_path: Path
) -> None:
    inputs, _ = resolve(model_folder, lines_uris, tmp_path / "out")
    assert [part.dataset for part in inputs.parts] == ["lines", "lines", "crops"]
    table = read_part(model, inputs.parts[0], "text", Decoding(batch_size=2))
    assert table.schema == PREDICTIONS_SCHEMA
    assert table["line_id"].to_pylist() == [f"{number:09d}" for number in range(5)]
    assert table["text"].to_pylist() == [f"탁자 {number}개" for number in range(5)]
    assert read_part(model, inputs.parts[1], "text", Decoding(batch_size=2)).num_rows == 0
    crops = read_part(model, inputs.parts[2], "markup", Decoding(batch_size=2))
    assert crops["text"].to_pylist() == ["탁자 $90$개", "탁자 $91$개"]
    assert crops["page_id"].to_pylist() == ["p1", "p2"]
    assert crops["page_order"].to_pylist() == [3, 3]
    assert crops["font"].to_pylist() == [None, None]


def test_predictions_do_not_depend_on_the_batch_size(
    model: OcrModel, model_folder: Path, lines_uris: tuple[str, str], tmp_path: Path
) -> None:
    inputs, _ = resolve(model_folder, lines_uris, tmp_path / "out")
    single, together = (
        read_part(model, inputs.parts[0], "text", Decoding(batch_size=size)) for size in (1, 5)
    )
    assert single["prediction"].to_pylist() == together["prediction"].to_pylist()
    assert single["confidence"].to_pylist() == pytest.approx(together["confidence"].to_pylist(), rel=1e-4)


def test_confidence_is_the_mean_probability_of_the_predicted_tokens(model: OcrModel) -> None:
    image = make_line(7).image_bytes
    ((_, confidence, _),) = read_images(model, [image])
    network = model.network
    with torch.inference_mode():
        pixel_values = make_pixel_values(model, [image])
        sequence = network.generate(pixel_values, do_sample=False, num_beams=1)
        logits = network(pixel_values=pixel_values, decoder_input_ids=sequence[:, :-1]).logits
    probabilities = logits.softmax(-1).gather(-1, sequence[:, 1:, None])
    assert confidence == pytest.approx(probabilities.mean().item(), rel=1e-3)


def test_beam_search_equals_that_of_transformers(model: OcrModel) -> None:
    images = [make_line(number).image_bytes for number in range(5)]
    texts, confidences, _ = zip(*read_images(model, images, Decoding(num_beams=3, batch_size=2)), strict=True)
    with torch.inference_mode():
        sequences = model.network.generate(make_pixel_values(model, images), do_sample=False, num_beams=3)
    assert list(texts) == model.decode(sequences)
    assert all(0 < confidence < 1 for confidence in confidences)


def test_lines_of_different_widths_keep_their_order(
    model: OcrModel, model_folder: Path, tmp_path: Path
) -> None:
    widths_px = (900, 30, 200, 64, 500)
    lines = [replace(make_line(number), width_px=width_px) for number, width_px in enumerate(widths_px)]
    write_lines(str(tmp_path / "lines"), [lines])
    inputs, _ = resolve(model_folder, (str(tmp_path / "lines"),), tmp_path / "out")
    table = read_part(model, inputs.parts[0], "text", Decoding(batch_size=2))
    assert table["line_id"].to_pylist() == [line.line_id for line in lines]
    confidences = [read_images(model, [line.image_bytes])[0].confidence for line in lines]
    assert table["confidence"].to_pylist() == pytest.approx(confidences, rel=1e-4)
    assert len({round(confidence, 4) for confidence in confidences}) == len(lines)


def test_predictions_of_an_earlier_version_are_made_again(tmp_path: Path) -> None:
    out, table = locate(str(tmp_path)), PREDICTIONS_SCHEMA.empty_table()
    write_predictions(out / part_path(0), table, "hash")
    write_predictions(out / part_path(1), table.drop_columns(["flags"]), "hash")
    write_predictions(out / part_path(2), table, "other")
    assert find_finished(out, 4, "hash") == [0]


def test_an_image_that_cannot_be_decoded_is_named(
    model: OcrModel, model_folder: Path, tmp_path: Path
) -> None:
    lines = [make_line(number) for number in range(5)]
    lines[3] = replace(lines[3], image_bytes=lines[3].image_bytes[:-200])
    write_lines(str(tmp_path / "lines"), [lines])
    inputs, _ = resolve(model_folder, (str(tmp_path / "lines"),), tmp_path / "out")
    with pytest.raises(InputError, match=r"image of line 000000003 in .*part-00000.parquet must be intact"):
        read_part(model, inputs.parts[0], "text", Decoding(batch_size=2))


def test_tokens_after_the_end_do_not_count() -> None:
    values = torch.tensor([[0.2, 0.4, 0.9, 0.9], [0.1, 0.2, 0.3, 0.4], [0.5, 0.0, 0.0, 0.0]])
    tokens = torch.tensor([[7, 2, 1, 1], [7, 7, 7, 7], [2, 2, 2, 2]])
    assert mean_before_end(values, tokens, 2).tolist() == pytest.approx([0.3, 0.25, 0.5])
    assert mean_before_end(values, tokens, [2, 1]).tolist() == pytest.approx([0.3, 0.25, 0.5])


def test_an_error_names_a_missing_input_before_any_work(
    model_folder: Path, lines_uris: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--lines-uri must name an existing folder, got .*nowhere"):
        resolve(model_folder, (str(tmp_path / "nowhere"),), tmp_path / "out")
    shutil.rmtree(Path(lines_uris[0]) / "validation")
    with pytest.raises(
        InputError, match=r"must hold exactly the parts of its manifest.json.*validation/part-00000"
    ):
        resolve(model_folder, lines_uris, tmp_path / "out")
    write_lines(lines_uris[0], [])
    with pytest.raises(
        InputError, match=r"must hold a split 'validation', found no \.parquet files in .*lines/val"
    ):
        resolve(model_folder, lines_uris, tmp_path / "out")
    with pytest.raises(InputError, match="no-such/model/folder"):
        resolve("no-such/model/folder", lines_uris[1:], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"config\.json, .*empty has none"):
        resolve(tmp_path / "empty", lines_uris[1:], tmp_path / "out")


def test_another_evaluation_is_not_overwritten(
    model_folder: Path, lines_uris: tuple[str, str], tmp_path: Path
) -> None:
    inputs, _ = resolve(model_folder, lines_uris, tmp_path / "out")
    reserve_output(inputs)
    resolve(model_folder, lines_uris, tmp_path / "out")
    with pytest.raises(InputError, match=r"lines.crops.validation: .* there, nothing now.*--out-uri"):
        resolve(model_folder, lines_uris[:1], tmp_path / "out")
    other = shutil.copytree(model_folder, tmp_path / "other")
    write_tiny_model(other, ["다른 글"], seed=2)
    with pytest.raises(InputError, match=r"model_sha256: \w{12}… there, \w{12}… now"):
        resolve(other, lines_uris, tmp_path / "out")


def test_an_unfinished_dataset_is_refused(
    model_folder: Path, lines_uris: tuple[str, str], tmp_path: Path
) -> None:
    (Path(lines_uris[1]) / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"must be a complete dataset, .*crops has no manifest\.json"):
        resolve(model_folder, lines_uris, tmp_path / "out")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"split": "valid"}, "split must be one of train, validation, test, got 'valid'"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"num_workers": 0}, "num_workers must be at least 1, got 0"),
        ({"num_beams": 0}, "num_beams must be at least 1, got 0"),
        ({"max_aspect": 0.5}, "max_aspect must be at least 1, got 0.5"),
        ({"lines_uri": ()}, "lines_uri must name at least one dataset"),
    ],
)
def test_an_error_names_a_flag_out_of_range(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**{"model_uri": "m", "lines_uri": ("l",), "out_uri": "o", **flags})  # type: ignore[arg-type]
