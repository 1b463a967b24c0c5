import io
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.pages.config import CropStyle
from ocr_ray.pages.crop import crop_page
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.files.store import pair_pages
from ocr_ray.pages.labels.read import read_label
from ocr_ray.pages.splits import problem_key
from ocr_ray.pages.synthetic.labels import QUESTION
from ocr_ray.pages.synthetic.pages import Schema, SyntheticPage, make_page, write_pages
from ocr_ray.pages.synthetic.problems import list_topics
from ocr_ray.storage.location import list_files, locate, read_bytes
from ocr_ray.text.markup import to_text

NUM_PAGES = 60
NATIVE = CropStyle(image=ImageConfig(size="native", format="png"))


@pytest.fixture(scope="module")
def font_bytes() -> bytes:
    installed = Path("/usr/share/fonts/truetype/nanum/NanumGothic.ttf")
    if installed.exists():
        return installed.read_bytes()
    koreanize_matplotlib = pytest.importorskip("koreanize_matplotlib")
    return (Path(koreanize_matplotlib.__file__).parent / "fonts" / "NanumGothic.ttf").read_bytes()


@pytest.fixture(scope="module")
def pages(font_bytes: bytes) -> list[SyntheticPage]:
    return [make_page(7, number, font_bytes=font_bytes) for number in range(NUM_PAGES)]


@pytest.fixture(scope="module")
def pages_71859(font_bytes: bytes) -> list[SyntheticPage]:
    return [make_page(7, number, font_bytes=font_bytes, schema="71859") for number in range(NUM_PAGES)]


@pytest.fixture(scope="module")
def all_pages(pages: list[SyntheticPage], pages_71859: list[SyntheticPage]) -> list[SyntheticPage]:
    return pages + pages_71859


def test_a_page_depends_only_on_seed_and_number(pages: list[SyntheticPage], font_bytes: bytes) -> None:
    assert make_page(7, 41, font_bytes=font_bytes) == pages[41]
    assert make_page(8, 41, font_bytes=font_bytes) != pages[41]


def test_page_ids_are_unique_and_have_the_form_of_ai_hub(pages: list[SyntheticPage]) -> None:
    assert len({page.page_id for page in pages}) == NUM_PAGES
    for number, page in enumerate(pages):
        grade, term, unit, topic, last = page.page_id.split("_")
        assert grade in {"P3", "P4", "P5", "P6"}
        assert [len(part) for part in (term, unit, topic)] == [1, 2, 5]
        assert last == f"{number:05}"


def test_pages_are_rgba_on_transparent_black(pages: list[SyntheticPage]) -> None:
    for page in pages:
        image = Image.open(io.BytesIO(page.image_bytes))
        assert (image.format, image.mode, image.width) == ("PNG", "RGBA", 765)
        assert 22 <= image.height <= 260
        assert image.getpixel((0, 0)) == (0, 0, 0, 0)


def test_a_label_has_a_byte_order_mark_and_the_content_of_the_page(pages: list[SyntheticPage]) -> None:
    for page in pages:
        assert page.label_bytes.startswith(b"\xef\xbb\xbf")
        assert json.loads(page.label_bytes)["question_filename"] == f"{page.page_id}.png"
        label = read_label(page.label_bytes, page.page_id)
        assert label.problem_markup == page.problem_markup
        assert [(box.x0, box.y0, box.x1, box.y1) for box in label.boxes] == [line.box for line in page.lines]
        assert [box.markup for box in label.boxes] == [line.markup for line in page.lines]
        assert label.out_of_scope == ({"image": 1} if page.figure else {})


def test_the_lines_of_a_page_are_the_problem_broken_outside_of_maths(
    pages: list[SyntheticPage],
) -> None:
    for page in pages:
        joined = "".join(line.markup for line in page.lines)
        assert joined.replace(" ", "") == page.problem_markup.replace(" ", "")
        assert all(line.markup.count("$") % 2 == 0 for line in page.lines)
        assert 1 <= len(page.lines) <= 4
    assert {len(page.lines) for page in pages} >= {1, 2, 3}
    heads = ["".join(line.markup for line in page.lines[:1]) for page in pages]
    rests = [page.problem_markup[len(head) :] for head, page in zip(heads, pages, strict=True)]
    assert any(rest and not rest.startswith(" ") for rest in rests), "at least one line ends inside a word"


def test_the_printed_text_is_that_of_the_markup(all_pages: list[SyntheticPage]) -> None:
    for page in all_pages:
        for line in page.lines:
            assert to_text(line.markup) == line.text
        for box in page.boxes:
            assert "".join(to_text(box.markup).split()) == "".join(
                "".join(line.text.split()) for line in box.lines
            )


def test_boxes_contain_all_ink_of_the_page_and_do_not_overlap(all_pages: list[SyntheticPage]) -> None:
    for page in all_pages:
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


def test_words_divide_the_ink_of_their_line_in_text_order(all_pages: list[SyntheticPage]) -> None:
    for page in all_pages:
        ink = 255 - np.asarray(open_page(page.image_bytes)).astype(int)
        for line in page.lines:
            assert len(line.words) == len(line.text.split())
            assert all(left[2] < right[0] for left, right in pairwise(line.words)), "paper between words"
            words_ink = sum(ink[y0:y1, x0:x1].sum() for x0, y0, x1, y1 in line.words)
            x0, y0, x1, y1 = line.ink
            assert words_ink == ink[y0:y1, x0:x1].sum()
            assert (line.words[0][0], line.words[-1][2]) == (x0, x1)
            assert (min(word[1] for word in line.words), max(word[3] for word in line.words)) == (y0, y1)


def test_every_line_of_a_page_becomes_a_crop_with_its_ink(all_pages: list[SyntheticPage]) -> None:
    for page in all_pages:
        image = open_page(page.image_bytes)
        crops = crop_page(read_label(page.label_bytes, page.page_id), image, NATIVE)
        drawn_lines = [line for box in page.boxes if box.part in ("", QUESTION) for line in box.lines]
        assert (crops.rejects, crops.warnings) == ([], {})
        assert [line.text for line in crops.lines] == [line.text for line in drawn_lines]
        assert [line.page_order for line in crops.lines] == list(range(len(drawn_lines)))
        for line, drawn in zip(crops.lines, drawn_lines, strict=True):
            cropped = np.asarray(Image.open(io.BytesIO(line.image_bytes)))
            x0, y0, x1, y1 = drawn.ink
            ink = np.asarray(image)[y0:y1, x0:x1]
            assert (255 - cropped.astype(int)).sum() == (255 - ink.astype(int)).sum() > 0
            assert (line.width_px, line.height_px) == (cropped.shape[1], cropped.shape[0])


def test_pages_of_71859_are_rgb_and_have_the_sizes_of_the_dataset(pages_71859: list[SyntheticPage]) -> None:
    sizes = []
    for number, page in enumerate(pages_71859):
        image = Image.open(io.BytesIO(page.image_bytes))
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert page.page_id.endswith(f"_{number:06}")
        sizes.append(image.size)
    widths, heights = zip(*sizes, strict=True)
    assert 602 <= min(widths) <= max(widths) <= 948
    assert 860 <= np.median(widths) <= 948
    assert 225 <= min(heights) <= max(heights) <= 1110


def test_a_label_of_71859_has_the_content_of_the_page(pages_71859: list[SyntheticPage]) -> None:
    for page in pages_71859:
        label = read_label(page.label_bytes, page.page_id)
        questions = [box for box in page.boxes if box.part == QUESTION]
        assert label.schema == "71859"
        assert [(box.x0, box.y0, box.x1, box.y1) for box in label.boxes] == [box.corners for box in questions]
        assert [box.markup for box in label.boxes] == [box.markup for box in questions]
        others = {"정답(텍스트)": 1, "해설(텍스트)": sum("해설" in box.part for box in page.boxes)}
        assert label.out_of_scope == others | ({"문항(이미지)": 1} if page.figure else {})
        document = json.loads(page.label_bytes.decode("utf-8-sig"))
        assert document["source_data_info"]["source_data_name"] == page.page_id


def test_pages_of_71859_have_the_quirks_of_the_dataset(pages_71859: list[SyntheticPage]) -> None:
    boxes = [box for page in pages_71859 for box in page.boxes]
    assert {len(box.lines) for box in boxes} >= {1, 2, 5}
    assert all(box.markup.count("\n") == len(box.lines) - 1 for box in boxes)
    assert any("\u00a0" in box.markup for box in boxes)
    assert any("&nbsp;" in box.markup for box in boxes)
    assert any(corner % 1 for box in boxes for corner in box.corners)
    assert sum(b'"Polygon"' in page.label_bytes for page in pages_71859) == NUM_PAGES


def test_pages_include_figures_choices_and_different_problems(pages: list[SyntheticPage]) -> None:
    assert any(page.figure for page in pages)
    assert any(line.text.startswith("①") for page in pages for line in page.lines)
    assert len({problem_key(page.problem_markup, 7) for page in pages}) > 20


@pytest.mark.parametrize("schema", ["71716", "71859"])
def test_written_pages_are_paired_without_rejects(tmp_path: Path, font_bytes: bytes, schema: Schema) -> None:
    folder = locate(str(tmp_path))
    write_pages(folder, num_pages=3, seed=7, font_bytes=font_bytes, schema=schema)
    files, rejects, out_of_scope = pair_pages(list_files(folder))
    assert (len(files), rejects, out_of_scope) == (3, [], {})
    expected = {
        page.page_id: page
        for page in (make_page(7, n, font_bytes=font_bytes, schema=schema) for n in range(3))
    }
    for file in files:
        assert file.image_path == f"images/{file.page_id}.png"
        assert read_bytes(folder / file.image_path) == expected[file.page_id].image_bytes
        assert read_bytes(folder / file.label_path) == expected[file.page_id].label_bytes


def test_pages_of_held_out_templates_share_no_topic_with_those_to_train_on(
    tmp_path: Path, font_bytes: bytes, pages: list[SyntheticPage]
) -> None:
    """Of 25 templates 7 are held out; by default all are used."""
    topics = {"all": {int(page.page_id.split("_")[3]) for page in pages}}
    for name in ("train", "held_out"):
        folder = locate(str(tmp_path / name))
        write_pages(folder, num_pages=20, seed=3, font_bytes=font_bytes, templates=name)
        files, _, _ = pair_pages(list_files(folder))
        topics[name] = {int(file.page_id.split("_")[3]) for file in files}
        assert topics[name] <= set(list_topics(name))
        assert len(topics[name]) > 4
    assert not topics["train"] & topics["held_out"]
    assert sorted(list_topics("train") + list_topics("held_out")) == list_topics("all") == list(range(1, 26))
    assert len(list_topics("held_out")) == 7
    assert topics["all"] & set(list_topics("held_out"))
    assert topics["all"] & set(list_topics("train"))
