"""Lines that need no renderer, for tests of parts and of producers; a number always gives the same line."""

import io
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ocr_ray.dataset.lines import PartSpec, Reject, TextLine
from ocr_ray.dataset.plan import Plan, cut_parts

FONTS = ("바탕", "굴림")


def make_line(number: int) -> TextLine:
    """Return a line with an image of one grey; text, size and grey depend on the number."""
    text = f"{chr(ord('가') + number % 400)} {number}+{number % 7}=□"
    buffer = io.BytesIO()
    Image.new("L", (8 * len(text), 16), number % 256).save(buffer, "PNG")
    return TextLine(
        line_id=f"{number:09d}",
        image_bytes=buffer.getvalue(),
        text=text,
        markup=f"${text}$",
        source="mixed",
        font=FONTS[number % 2],
        width_px=8 * len(text),
        height_px=16,
        style="{}",
        grades=(1 + number % 6, 6),
    )


def make_rows(shared: Any, spec: PartSpec) -> Iterator[TextLine | Reject]:
    """Yield the lines of a part; every 50th number is a reject."""
    for number in range(spec.start, spec.stop):
        yield make_line(number) if number % 50 else Reject(reason="missing_glyph", number=number)


def plan_numbers(num_train: int, *, items_per_part: int, num_validation: int = 0, **more: Any) -> Plan:
    """Return a plan of numbers from 1 to `num_train`, with the same configuration for any parts."""
    parts = cut_parts("train", 1, num_train, items_per_part)
    parts += cut_parts("validation", 700_000_000, num_validation, items_per_part)
    return Plan(config={"job": "stub", "num_lines": num_train, "seed": 3}, parts=tuple(parts), **more)
