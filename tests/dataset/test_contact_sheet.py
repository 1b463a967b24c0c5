import io

import numpy as np
import pytest
from PIL import Image

from ocr_ray.dataset.contact_sheet import draw_contact_sheet
from ocr_ray.dataset.lines import TextLine


def make_line(width_px: int, height_px: int, *, stored_px: tuple[int, int] = (384, 384)) -> TextLine:
    buffer = io.BytesIO()
    Image.new("L", stored_px, 0).save(buffer, "PNG")
    return TextLine(
        line_id="1",
        image_bytes=buffer.getvalue(),
        text="가",
        markup="가",
        source="words",
        width_px=width_px,
        height_px=height_px,
    )


def draw(lines: list[TextLine]) -> np.ndarray:
    image = Image.open(io.BytesIO(draw_contact_sheet(lines)))
    assert (image.format, image.mode) == ("PNG", "L")
    return np.asarray(image)


def measure_black(pixels: np.ndarray) -> tuple[int, int]:
    """Return the width and height of the box around all black pixels."""
    rows, columns = np.nonzero(pixels == 0)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


@pytest.mark.parametrize("size", [(300, 30), (3000, 30), (30, 300), (1, 1), (20_000, 3)])
def test_a_line_is_drawn_with_the_aspect_it_had_before_it_was_resized(size: tuple[int, int]) -> None:
    width, height = measure_black(draw([make_line(*size)]))
    scale = min(740 / size[0], 56 / size[1])
    assert (width, height) == (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def test_lines_are_drawn_in_two_columns_and_do_not_touch() -> None:
    pixels = draw([make_line(400, 30)] * 5)
    assert pixels.shape == (3 * 72, 1600)
    cells = [pixels[y : y + 72, x : x + 800] for y in range(0, 3 * 72, 72) for x in (0, 800)]
    assert [bool((cell == 0).any()) for cell in cells] == [True] * 5 + [False]
    for cell in cells[:5]:
        edge = np.concatenate([cell[0], cell[-1], cell[:, 0], cell[:, -1]])
        assert set(edge.tolist()) == {224}
        assert (cell[:, 10:45] < 200).any()  # its number
