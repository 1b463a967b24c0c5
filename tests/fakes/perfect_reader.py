"""Synthetic pages whose labels have lost their texts, and a reader that knows each line by its pixels."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.model.line_reading import LineReading
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop import crop_page
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.labels.read import read_label
from ocr_ray.pages.synthetic.pages import SyntheticPage, make_page
from ocr_ray.storage.location import Location, write_bytes

NATIVE = CropStyle(image=ImageConfig(size="native"))
DOUBT = "구"
"""Lines with it are read correctly, but with low confidence."""


@dataclass(frozen=True)
class PerfectReader:
    """Returns the labelled text of each line; fails on any other image."""

    readings: dict[bytes, str]

    def __call__(self, images: Sequence[bytes]) -> list[LineReading]:
        texts = [self.readings[image] for image in images]
        return [LineReading(text, 0.5 if DOUBT in text else 0.99) for text in texts]


def learn(pages: Iterable[SyntheticPage], label_column: str = "text") -> PerfectReader:
    """Return the reader of synthetic pages, taught with the crops of their original labels."""
    readings = {}
    for page in pages:
        label = read_label(page.label_bytes, page.page_id)
        crops = crop_page(label, open_page(page.image_bytes), NATIVE)
        assert not crops.rejects
        readings |= {line.image_bytes: getattr(line, label_column) for line in crops.lines}
    return PerfectReader(readings)


def make_pages(font_bytes: bytes, number: int, *, seed: int = 4) -> list[SyntheticPage]:
    """Return pages of both schemas."""
    return [
        make_page(seed, index, font_bytes=font_bytes, schema=schema)
        for schema in ("71716", "71859")
        for index in range(number)
    ]


def forget_texts(label_bytes: bytes) -> bytes:
    """Return a label without the texts of its lines and of the problem."""
    document = json.loads(label_bytes.decode("utf-8-sig"))
    for info in document.get("OCR_info", []):
        info["question_text"] = ""
        for box in info["question_bbox"]:
            box["text"] = "" if box["type"] == "line" else box["text"]
    for group in document.get("learning_data_info", []):
        for box in group["class_info_list"]:
            box["text_description"] = "None"
    return json.dumps(document, ensure_ascii=False).encode("utf-8-sig")


def write_unread(folder: Location, pages: Iterable[SyntheticPage]) -> None:
    """Write pages with labels without texts."""
    for page in pages:
        write_bytes(folder / f"{page.page_id}.png", page.image_bytes)
        write_bytes(folder / f"{page.page_id}.json", forget_texts(page.label_bytes))
