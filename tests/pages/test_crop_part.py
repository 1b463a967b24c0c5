"""Spliced lines of a part draw from a limited number of pixels, however large the words are."""

from pathlib import Path

import pyarrow as pa

from ocr_ray.dataset.lines import FIRST_SPLICED_NUMBER, PartSpec, TextLine
from ocr_ray.pages import crop_part as module
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop_part import CropInputs, crop_part
from ocr_ray.pages.files.load import PageLoader
from ocr_ray.pages.files.store import PageStore, pair_pages
from ocr_ray.pages.synthetic.pages import write_pages
from ocr_ray.storage.location import locate


def find_origins(folder: Path) -> set[str]:
    """Return the ids of the pages whose words are in spliced lines."""
    store = PageStore(locate(str(folder)))
    rows = [
        {"page_id": file.page_id, "image_path": file.image_path, "label_path": file.label_path}
        for file in pair_pages(store.list().files)[0]
    ]
    inputs = CropInputs(
        loader=PageLoader(store=store, box_format="xyxy", out_of_scope={}),
        pages={"train": pa.Table.from_pylist(rows)},
        style=CropStyle(),
        seed=1,
    )
    first = FIRST_SPLICED_NUMBER
    lines = list(crop_part(inputs, PartSpec(split="train", index=1, start=first, stop=first + 20)))
    assert len(lines) == 20
    origins = [origin for line in lines if isinstance(line, TextLine) for origin in line.spliced_from or ()]
    return {origin.line_id.partition("#")[0] for origin in origins}


def test_words_over_the_limit_of_pixels_are_not_used(fonts, tmp_path, monkeypatch) -> None:
    write_pages(locate(str(tmp_path)), num_pages=4, seed=3, font_bytes=fonts[0].content)
    assert len(find_origins(tmp_path)) > 2
    monkeypatch.setattr(module, "PIXELS_PER_POOL", 10)
    assert find_origins(tmp_path) == set()
