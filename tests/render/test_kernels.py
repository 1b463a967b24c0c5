import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from ocr_ray.render.kernels import area_kernel, blur_kernel


@given(st.floats(0, 40))
def test_an_area_kernel_is_an_average_over_its_width(width_px: float) -> None:
    kernel = area_kernel(width_px)
    assert kernel.sum() == pytest.approx(1)
    assert len(kernel) % 2 == 1
    assert (kernel == kernel[::-1]).all()
    wide = max(1.0, round(width_px * 64) / 64)
    assert kernel.max() == pytest.approx(1 / wide)
    assert len(kernel) - 2 <= max(1.0, wide) <= len(kernel) + 1e-9


@given(st.floats(0, 8), st.booleans())
def test_a_blur_kernel_has_the_variance_of_its_radius(radius_px: float, is_reduced: bool) -> None:
    kernel = blur_kernel(radius_px, is_reduced)
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1)
    extra = 1 / 9 if is_reduced else 0
    assert (kernel * offsets**2).sum() == pytest.approx(radius_px**2 + extra, rel=0.08, abs=0.08)


@pytest.mark.parametrize("radius_px", [0.3, 0.7, 1.0, 1.6])
def test_a_blur_kernel_blurs_as_pillow_does(radius_px: float) -> None:
    impulse = np.zeros((1, 41), np.uint8)
    impulse[0, 20] = 255
    blurred = Image.fromarray(impulse).filter(ImageFilter.GaussianBlur((radius_px, 0)))
    kernel = blur_kernel(radius_px, False)
    reach = len(kernel) // 2
    assert np.abs(np.asarray(blurred)[0, 20 - reach : 21 + reach] / 255 - kernel).max() < 0.02
