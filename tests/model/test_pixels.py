import io
import json
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders.manifests import make_manifest
from builders.training_data import draw_text, make_dataset, make_lines, make_texts, make_tiny_model
from PIL import Image
from transformers import AutoImageProcessor

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.plan import MANIFEST
from ocr_ray.errors import InputError
from ocr_ray.model.load import OcrModel
from ocr_ray.model.pixels import check_stored_images, make_pixel_values, make_pixels, to_pixel_values
from ocr_ray.storage.location import write_json

torch.set_num_threads(1)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OcrModel:
    return make_tiny_model(tmp_path_factory.mktemp("pixels") / "model")


def with_processor(ocr: OcrModel, folder: Path, changes: dict[str, object]) -> OcrModel:
    settings_of = {**ocr.image_processor.to_dict(), **changes}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings_of))
    return replace(ocr, image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil"))


def noise(width: int, height: int, mode: str = "L") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


CROPS = {
    "image_processor_type": "DeiTImageProcessor",
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 200},
}


@pytest.mark.parametrize("config", [ImageConfig(), ImageConfig(size="native", format="png")])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_processor_type": "DeiTImageProcessor", "do_center_crop": False, "resample": 3},
        {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
        {"rescale_factor": 1 / 127.5},
        {"rescale_factor": 0.0123, "image_mean": [0.1, 0.2, 0.3]},
        {"do_normalize": False},
        {"do_rescale": False},
        {"size": {"height": 96, "width": 320}},
        CROPS,
    ],
)
def test_the_tensors_fed_equal_those_of_the_models_own_processor(
    tmp_path: Path, ocr: OcrModel, config: ImageConfig, changes: dict[str, object]
) -> None:
    changed = with_processor(ocr, tmp_path, changes)
    images = [line.image_bytes for line in make_lines(make_texts(2), config=config)]
    images.append(encode(noise(500, 22)))
    rgb = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
    expected = changed.image_processor(images=rgb, return_tensors="pt")["pixel_values"]
    fed = make_pixel_values(changed, images)
    assert fed.dtype == torch.float32
    assert torch.equal(fed, expected)


def test_every_grey_level_is_fed_as_the_processor_has_it(ocr: OcrModel) -> None:
    levels = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), 576).reshape(384, 384))
    expected = ocr.image_processor(images=[levels.convert("RGB")], return_tensors="pt")["pixel_values"]
    assert torch.equal(to_pixel_values(ocr, make_pixels(ocr, [levels]), CPU), expected)


def test_grey_images_travel_as_one_byte_a_pixel_and_what_cannot_as_floats(
    tmp_path: Path, ocr: OcrModel
) -> None:
    grey, colour = noise(90, 20), noise(90, 20, "RGB")
    assert (make_pixels(ocr, [grey]).dtype, make_pixels(ocr, [grey]).shape) == (torch.uint8, (1, 384, 384))
    for pixels in (
        make_pixels(ocr, [grey, colour]),
        make_pixels(with_processor(ocr, tmp_path, {"do_resize": False}), [noise(384, 384)] * 2),
    ):
        assert (pixels.dtype, pixels.shape) == (torch.float32, (2, 3, 384, 384))
    assert make_pixels(with_processor(ocr, tmp_path, CROPS), [grey]).shape == (1, 3, 224, 200)


def test_an_image_in_colour_is_fed_as_it_is(ocr: OcrModel) -> None:
    image = noise(90, 20, "RGB")
    expected = ocr.image_processor(images=[image], return_tensors="pt")["pixel_values"]
    assert torch.equal(make_pixel_values(ocr, [encode(image)]), expected)


def test_an_image_of_the_models_size_is_not_resized(ocr: OcrModel) -> None:
    image = noise(384, 384)
    assert np.array_equal(make_pixels(ocr, [image])[0].numpy(), np.asarray(image))


def test_no_images_make_an_empty_tensor(ocr: OcrModel) -> None:
    assert make_pixels(ocr, []).shape[0] == 0
    assert make_pixel_values(ocr, []).shape[:2] == (0, 3)


def test_of_a_batch_one_decoded_image_is_held_at_a_time(ocr: OcrModel) -> None:
    opened: list[weakref.ref[Image.Image]] = []

    def open_images() -> Iterator[Image.Image]:
        for grey in range(8):
            image = Image.new("L", (900, 500), grey)
            opened.append(weakref.ref(image))
            yield image
            del image
            assert sum(of() is not None for of in opened) <= 2

    pixels = make_pixels(ocr, open_images())
    assert [int(line.max()) for line in pixels] == list(range(8))


def test_images_in_grey_and_in_colour_in_one_batch_are_fed_as_alone(ocr: OcrModel) -> None:
    images = [draw_text(text).convert(mode) for text in ("7 + 8", "paper 31") for mode in ("L", "RGB", "L")]
    together = to_pixel_values(ocr, make_pixels(ocr, images), CPU)
    expected = [
        ocr.image_processor(image.convert("RGB"), return_tensors="pt").pixel_values for image in images
    ]
    assert torch.equal(together, torch.cat(expected))


def keep_aspect(height: int, width: int, mean: float = 1.0) -> dict[str, object]:
    return {
        "image_processor_type": "ViTImageProcessor",
        "size": {"max_height": height, "max_width": width},
        "do_pad": True,
        "pad_size": {"height": height, "width": width},
        "image_mean": [mean] * 3,
        "image_std": [0.5] * 3,
    }


@pytest.mark.parametrize("mean", [1.0, 0.0, 0.5])
def test_lines_with_their_aspect_kept_are_bit_for_bit_those_of_the_processor(
    ocr: OcrModel, tmp_path: Path, mean: float
) -> None:
    kept = with_processor(ocr, tmp_path, keep_aspect(24, 384, mean))
    images = [noise(*size) for size in ((384, 24), (100, 30), (1000, 40), (20, 70), (385, 24), (3000, 40))]
    pixels = make_pixels(kept, images)
    # A mean of 0.5 gives no grey level the floats of the padding, so the processor makes the pixels.
    assert pixels.dtype == (torch.float32 if mean == 0.5 else torch.uint8)
    expected = kept.image_processor(images=[image.convert("RGB") for image in images], return_tensors="pt")
    assert torch.equal(to_pixel_values(kept, pixels, CPU), expected["pixel_values"])


def test_a_line_too_narrow_for_the_aspect_keeps_one_pixel(ocr: OcrModel, tmp_path: Path) -> None:
    kept = with_processor(ocr, tmp_path, keep_aspect(24, 384))
    assert make_pixels(kept, [noise(1, 200), noise(4000, 2)]).shape == (2, 24, 384)


@pytest.mark.parametrize("size", ["384", "native"])
def test_squares_are_refused_by_a_model_that_keeps_the_aspect_of_lines(
    ocr: OcrModel, tmp_path: Path, size: str
) -> None:
    lines = make_dataset(tmp_path / "lines", 2, 1).folder
    write_json(lines / MANIFEST, make_manifest(lines) | {"config": {"image": {"size": size}}})
    check_stored_images(ocr, [lines])
    kept = with_processor(ocr, tmp_path, keep_aspect(24, 384))
    with pytest.raises(InputError, match="size native") if size == "384" else nullcontext():
        check_stored_images(kept, [lines])
