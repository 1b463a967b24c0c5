import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ocr_ray.images import ImageConfig
from ocr_ray.pages.aihub import pair_pages, read_label, split_of_problem
from ocr_ray.pages.crop import crop_page, open_page
from ocr_ray.pages.maker import MadePage, make_page, write_pages
from ocr_ray.storage import list_files, locate, read_bytes
from ocr_ray.text.markup import to_text

NUM_PAGES = 60
NATIVE_PNG = ImageConfig(size="native", format="png")


@pytest.fixture(scope="module")
def font_bytes() -> bytes:
    installed = Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf")
    if installed.exists():
        return installed.read_bytes()
    koreanize_matplotlib = pytest.importorskip("koreanize_matplotlib")
    return (Path(koreanize_matplotlib.__file__).parent / "fonts" / "NanumGothic.ttf").read_bytes()


@pytest.fixture(scope="module")
def pages(font_bytes: bytes) -> list[MadePage]:
    return [make_page(7, number, font_bytes=font_bytes) for number in range(NUM_PAGES)]


def test_a_page_depends_on_seed_and_number_alone(pages: list[MadePage], font_bytes: bytes) -> None:
    assert make_page(7, 41, font_bytes=font_bytes) == pages[41]
    assert make_page(8, 41, font_bytes=font_bytes) != pages[41]


def test_page_ids_are_unique_and_shaped_like_those_of_ai_hub(pages: list[MadePage]) -> None:
    assert len({page.page_id for page in pages}) == NUM_PAGES
    for number, page in enumerate(pages):
        grade, term, unit, topic, last = page.page_id.split("_")
        assert grade in {"P3", "P4", "P5", "P6"}
        assert [len(part) for part in (term, unit, topic)] == [1, 2, 5]
        assert last == f"{number:05}"


def test_pages_are_rgba_on_transparent_black(pages: list[MadePage]) -> None:
    for page in pages:
        image = Image.open(io.BytesIO(page.image_bytes))
        assert (image.format, image.mode, image.width) == ("PNG", "RGBA", 765)
        assert 22 <= image.height <= 260
        assert image.getpixel((0, 0)) == (0, 0, 0, 0)


def test_a_label_has_a_byte_order_mark_and_reads_back_as_the_truth(pages: list[MadePage]) -> None:
    for page in pages:
        assert page.label_bytes.startswith(b"\xef\xbb\xbf")
        assert json.loads(page.label_bytes)["question_filename"] == f"{page.page_id}.png"
        label = read_label(page.label_bytes, page.page_id)
        assert label.problem_markup == page.problem_markup
        assert [(box.x0, box.y0, box.x1, box.y1) for box in label.boxes] == [line.box for line in page.lines]
        assert [box.markup for box in label.boxes] == [line.markup for line in page.lines]
        assert label.out_of_scope == ({"image": 1} if page.figure else {})


def test_the_lines_of_a_page_are_its_problem_broken_anywhere_but_in_maths(pages: list[MadePage]) -> None:
    for page in pages:
        joined = "".join(line.markup for line in page.lines)
        assert joined.replace(" ", "") == page.problem_markup.replace(" ", "")
        assert all(line.markup.count("$") % 2 == 0 for line in page.lines)
        assert 1 <= len(page.lines) <= 4
    assert {len(page.lines) for page in pages} >= {1, 2, 3}
    heads = ["".join(line.markup for line in page.lines[:1]) for page in pages]
    rests = [page.problem_markup[len(head) :] for head, page in zip(heads, pages, strict=True)]
    assert any(rest and not rest.startswith(" ") for rest in rests), "some line ends inside a word"


def test_what_is_printed_is_the_text_of_the_markup(pages: list[MadePage]) -> None:
    for page in pages:
        for line in page.lines:
            assert to_text(line.markup) == line.text


def test_boxes_hold_all_ink_of_the_page_and_none_of_their_neighbours(pages: list[MadePage]) -> None:
    for page in pages:
        ink = 255 - np.asarray(open_page(page.image_bytes)).astype(int)
        owners = np.zeros_like(ink)
        for x0, y0, x1, y1 in [line.box for line in page.lines] + [page.figure or (0, 0, 0, 0)]:
            owners[y0:y1, x0:x1] += 1
        assert owners.max() == 1, "boxes overlap"
        assert ink[owners == 0].sum() == 0
        for line in page.lines:
            x0, y0, x1, y1 = line.box
            assert ink[y0:y1, x0:x1].sum() > 0
            assert min(line.ink[0] - x0, line.ink[1] - y0, x1 - line.ink[2], y1 - line.ink[3]) >= 1


def test_every_line_of_a_made_page_becomes_a_crop_with_its_ink(pages: list[MadePage]) -> None:
    for page in pages:
        image = open_page(page.image_bytes)
        lines, rejects = crop_page(read_label(page.label_bytes, page.page_id), image, NATIVE_PNG)
        assert rejects == []
        assert [line.text for line in lines] == [line.text for line in page.lines]
        assert [line.page_order for line in lines] == list(range(len(page.lines)))
        for line, made in zip(lines, page.lines, strict=True):
            cropped = np.asarray(Image.open(io.BytesIO(line.image_bytes)))
            x0, y0, x1, y1 = made.ink
            ink = np.asarray(image)[y0:y1, x0:x1]
            assert (255 - cropped.astype(int)).sum() == (255 - ink.astype(int)).sum() > 0
            assert (line.width_px, line.height_px) == (cropped.shape[1], cropped.shape[0])


def test_pages_hold_figures_choices_and_both_splits(pages: list[MadePage]) -> None:
    assert any(page.figure for page in pages)
    assert any(line.text.startswith("①") for page in pages for line in page.lines)
    splits = [split_of_problem(page.problem_markup, 7, 0.2) for page in pages]
    assert 3 <= splits.count("validation") <= 25


def test_written_pages_are_paired_without_rejects(tmp_path: Path, font_bytes: bytes) -> None:
    folder = locate(str(tmp_path))
    write_pages(folder, num_pages=3, seed=7, font_bytes=font_bytes)
    files, rejects = pair_pages(list_files(folder))
    assert (len(files), rejects) == (3, [])
    made = {page.page_id: page for page in (make_page(7, n, font_bytes=font_bytes) for n in range(3))}
    for file in files:
        assert file.image_path == f"images/{file.page_id}.png"
        assert read_bytes(folder / file.image_path) == made[file.page_id].image_bytes
        assert read_bytes(folder / file.label_path) == made[file.page_id].label_bytes
