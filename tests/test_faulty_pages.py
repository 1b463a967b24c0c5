from collections import Counter
from pathlib import Path

import pytest
from faulty_pages import write_faulty_pages
from PIL import Image

from ocr_ray.errors import RowError
from ocr_ray.images import ImageConfig
from ocr_ray.pages.crop import CropStyle, crop_page, open_page
from ocr_ray.pages.files import MAX_IMAGE_BYTES, PageFile, PageStore, pair_pages
from ocr_ray.pages.labels import MAX_LABEL_BYTES, OutOfScopeError, PageLabel, read_label
from ocr_ray.pages.maker import Schema
from ocr_ray.render.fonts import Font
from ocr_ray.storage import locate

NATIVE = CropStyle(image=ImageConfig(size="native"))
REASONS = {
    "missing_image",
    "missing_label",
    "bad_json",
    "unknown_schema",
    "bad_image",
    "duplicate_page",
    "box_outside_page",
    "empty_box",
    "box_too_small",
    "empty_text",
    "multi_line_box",
    "unsupported_markup",
}


@pytest.mark.parametrize("schema", ["71716", "71859"])
def test_of_200_pages_with_every_fault_each_page_and_box_is_accounted_for(
    schema: Schema, tmp_path: Path, fonts: list[Font]
) -> None:
    place = locate(str(tmp_path))
    expected = write_faulty_pages(place, schema=schema, seed=5, font_bytes=fonts[0].content)
    assert set(expected.rejects) == REASONS
    store = PageStore(place)
    files, unpaired, others = pair_pages(store.list().files)
    rejects = Counter(reject.reason for reject in unpaired)
    out_of_scope, boxes_out_of_scope = Counter(others), Counter[str]()
    warnings, texts, num_boxes = Counter[str](), {}, 0
    for file in files:
        try:
            label, page = read_page(store, file)
        except OutOfScopeError as error:
            out_of_scope[error.reason] += 1
            continue
        except RowError as error:
            rejects[error.reason] += 1
            continue
        crops = crop_page(label, page, NATIVE)
        texts[file.page_id] = [line.text for line in crops.lines]
        num_boxes += len(label.boxes)
        rejects.update(reject.reason for reject in crops.rejects)
        boxes_out_of_scope.update(label.out_of_scope)
        warnings.update(crops.warnings)
    assert texts == expected.texts
    assert rejects == expected.page_rejects + expected.box_rejects
    assert out_of_scope == expected.pages_out_of_scope
    assert boxes_out_of_scope == expected.boxes_out_of_scope
    assert warnings == expected.warnings
    assert num_boxes == expected.num_boxes


def read_page(store: PageStore, file: PageFile) -> tuple[PageLabel, Image.Image]:
    label = read_label(store.read(file.label_path, MAX_LABEL_BYTES), file.page_id)
    return label, open_page(store.read(file.image_path, MAX_IMAGE_BYTES))
