"""crop_pages on 200 pages of each schema with a fault for every reject reason."""

from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders.faulty_pages import write_faulty_pages

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.pages.config import CropConfig, CropStyle
from ocr_ray.pages.crop_job import crop_pages
from ocr_ray.pages.synthetic.pages import Schema
from ocr_ray.render.fonts.find import Font
from ocr_ray.storage.location import locate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

PAGE_REASONS = {
    "missing_image",
    "missing_label",
    "bad_json",
    "unknown_schema",
    "bad_image",
    "duplicate_page",
}
BOX_REASONS = {
    "box_outside_page",
    "empty_box",
    "box_too_small",
    "empty_text",
    "multi_line_box",
    "unsupported_markup",
}


def read_rows(folder: Path, columns: list[str]) -> list[dict]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in read_columns(path, columns)]


def read_columns(path: Path, columns: list[str]) -> list[dict]:
    return pq.read_table(path, columns=columns).to_pylist()


@pytest.mark.parametrize("schema", ["71716", "71859"])
def test_every_page_and_box_of_faulty_pages_is_accounted_for(
    schema: Schema, tmp_path: Path, fonts: list[Font]
) -> None:
    pages = locate(str(tmp_path / "pages"))
    expected = write_faulty_pages(pages, schema=schema, seed=5, font_bytes=fonts[0].content)
    assert set(expected.page_rejects) == PAGE_REASONS
    assert set(expected.box_rejects) == BOX_REASONS
    out = tmp_path / "crops"
    summary = crop_pages(
        CropConfig(
            pages_uri=pages.uri,
            out_uri=str(out),
            crop=CropStyle(image=ImageConfig(size="native")),
            pages_per_part=64,
            max_reject_fraction=0.5,
        )
    )
    assert summary["rejects"] == expected.rejects
    assert summary["pages"] == {"read": len(expected.texts), "rejected": expected.page_rejects.total()}
    assert summary["boxes"] == {
        "cut": expected.num_boxes - expected.box_rejects.total(),
        "rejected": expected.box_rejects.total(),
    }
    assert summary["pages_out_of_scope"] == expected.pages_out_of_scope
    assert summary["boxes_out_of_scope"] == expected.boxes_out_of_scope
    assert summary.get("warnings", {}) == expected.warnings
    assert summary["lines"] == expected.num_lines
    texts = defaultdict(list)
    for split in ("train", "validation"):
        for row in read_rows(out / split, ["page_id", "text"]):
            texts[row["page_id"]].append(row["text"])
    assert texts == {page_id: lines for page_id, lines in expected.texts.items() if lines}
    rejects = read_rows(out / "rejects", ["page_id", "box", "reason", "detail"])
    assert Counter(reject["reason"] for reject in rejects if reject["box"]) == expected.box_rejects
    assert Counter(reject["reason"] for reject in rejects if not reject["box"]) == expected.page_rejects
    assert all(reject["page_id"] and reject["detail"] for reject in rejects)
