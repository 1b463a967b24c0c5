"""The contact sheet of a dataset: one picture with a sample of its lines."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ocr_ray.dataset.images import open_line_image
from ocr_ray.dataset.lines import TextLine

NUM_COLUMNS = 2
CELL_SIZE_PX = (800, 72)
LINE_SIZE_PX = (740, 56)
"""Box that each line is fitted into, keeping its aspect; the number of the line is to its left."""
SEPARATOR_GREY, NUMBER_GREY = 224, 128


def draw_contact_sheet(lines: Sequence[TextLine]) -> bytes:
    """Return a PNG, 1600 px wide, of lines numbered from 1, row by row."""
    width_px, height_px = CELL_SIZE_PX
    num_rows = -(-len(lines) // NUM_COLUMNS)
    sheet = Image.new("L", (NUM_COLUMNS * width_px, num_rows * height_px), 255)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for index, line in enumerate(lines):
        row, column = divmod(index, NUM_COLUMNS)
        x0, y0 = column * width_px, row * height_px
        draw.rectangle((x0, y0, x0 + width_px - 1, y0 + height_px - 1), outline=SEPARATOR_GREY)
        draw.text((x0 + 40, y0 + height_px // 2), str(index + 1), NUMBER_GREY, font, anchor="rm")
        image = _draw_line(line)
        sheet.paste(image, (x0 + 50, y0 + (height_px - image.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_line(line: TextLine) -> Image.Image:
    """Return the image of a line with the aspect that it had before it was resized."""
    scale = min(LINE_SIZE_PX[0] / line.width_px, LINE_SIZE_PX[1] / line.height_px)
    size = (max(1, round(line.width_px * scale)), max(1, round(line.height_px * scale)))
    image = open_line_image(line.image_bytes, f"line {line.line_id}")
    return image.convert("L").resize(size, Image.Resampling.LANCZOS)
