import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.pages.files.page_image import MAX_PAGE_SIDE_PX

PAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8))


def test_a_stored_line_is_a_greyscale_square_of_384_px() -> None:
    drawn = Image.new("L", (300, 20), 255)
    ImageDraw.Draw(drawn).line((5, 5, 290, 15), fill=0, width=2)
    expected = drawn.resize((384, 384), Image.Resampling.BILINEAR)
    stored = Image.open(io.BytesIO(encode_image(drawn, ImageConfig(format="png"))))
    assert (stored.format, stored.mode, stored.tobytes()) == ("PNG", "L", expected.tobytes())
    lossy = Image.open(io.BytesIO(encode_image(drawn, ImageConfig())))
    assert (lossy.format, lossy.mode, lossy.size) == ("JPEG", "L", (384, 384))
    difference = np.asarray(lossy).astype(int) - np.asarray(expected)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_stored_bytes_depend_only_on_the_pixels(image_format: str) -> None:
    config = ImageConfig(size="native", format=image_format)  # type: ignore[arg-type]
    with_metadata = PAGE.copy()
    with_metadata.info = {
        "icc_profile": b"profile",
        "comment": b"comment",
        "transparency": 3,
        "dpi": (300, 300),
    }
    assert encode_image(with_metadata, config) == encode_image(PAGE, config)


def test_a_line_in_colour_and_an_unknown_format_are_refused() -> None:
    with pytest.raises(ValueError, match="must be 8-bit greyscale"):
        encode_image(PAGE.convert("RGB"), ImageConfig())
    with pytest.raises(ValueError, match="format must be jpeg or png"):
        ImageConfig(format="gif")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be 384 or native"):
        ImageConfig(size="512")  # type: ignore[arg-type]


def test_every_page_that_can_be_opened_can_be_stored_as_jpeg() -> None:
    strip = Image.new("L", (MAX_PAGE_SIDE_PX, 4), 255)
    assert encode_image(strip, ImageConfig(size="native", format="jpeg"))
