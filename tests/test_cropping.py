"""Crops of labelled pages over one Ray session: every box is a line or a reject."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from ocr_ray.cropping import CropConfig, crop_pages
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.lines import table_to_lines
from ocr_ray.pages.maker import write_pages
from ocr_ray.storage import list_files, locate, read_bytes, write_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


def read_lines(out_uri: str, split: str):
    out = locate(out_uri)
    paths = [path for path in list_files(out) if path.startswith(f"{split}/")]
    return [line for path in paths for line in table_to_lines(pq.read_table((out / path).path))]


def test_pages_become_lines_and_rejects_and_nothing_else(fonts, tmp_path) -> None:
    pages = locate(str(tmp_path / "pages"))
    write_pages(pages, num_pages=12, seed=3, font_bytes=fonts[0].content)
    names = [name for name in list_files(pages) if name.endswith(".png")]
    write_bytes(pages / names[0], b"not a picture")
    pages.filesystem.delete_file((pages / names[1]).path)
    config = CropConfig(
        pages_uri=pages.uri, out_uri=str(tmp_path / "crops"), pages_per_part=4, max_reject_fraction=0.5
    )
    summary = crop_pages(config)
    assert summary["rejects"] == {"bad_image": 1, "missing_image": 1}
    lines = [line for split in ("train", "validation") for line in read_lines(config.out_uri, split)]
    page_ids = {line.page_id for line in lines}
    assert len(page_ids) == 10
    assert {line.source for line in lines} == {"page"}
    assert summary["lines"] == len(lines) == len({line.line_id for line in lines})
    write_bytes(pages / names[0], b"not a picture either")
    with pytest.raises(InputError, match="pages_sha256: "):
        crop_pages(config)
    with pytest.raises(ProductionError, match="rejects must be at most"):
        crop_pages(replace(config, out_uri=str(tmp_path / "strict"), max_reject_fraction=0.0))
    assert not (tmp_path / "strict/manifest.json").exists()


def test_a_page_without_lines_is_a_reject_and_a_dataset_without_lines_a_failure(fonts, tmp_path) -> None:
    pages = locate(str(tmp_path / "pages"))
    write_pages(pages, num_pages=1, seed=3, font_bytes=fonts[0].content)
    (label,) = [name for name in list_files(pages) if name.endswith(".json")]
    write_bytes(pages / label, read_bytes(pages / label).replace(b'"line"', b'"text"'))
    config = CropConfig(pages_uri=pages.uri, out_uri=str(tmp_path / "crops"), max_reject_fraction=1.0)
    with pytest.raises(ProductionError, match=r"at least one line, got none; rejects: .'no_line_boxes': 1"):
        crop_pages(config)


def test_a_folder_without_pages_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"--pages-uri must hold images .* found no pair"):
        crop_pages(CropConfig(pages_uri=str(tmp_path), out_uri=str(tmp_path / "out")))
