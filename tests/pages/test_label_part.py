"""Parts of labelled pages: a perfect reader restores the labels; everything else is accounted for."""

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from builders.zips import UTF8, ZipMember, make_zip
from fakes.perfect_reader import DOUBT, NATIVE, forget_texts, learn, make_pages, write_unread
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ocr_ray.dataset.lines import PartRow, PartSpec, Reject, TextLine, TopicCount
from ocr_ray.errors import LabelError
from ocr_ray.model.line_reading import LineReading, ReadImages
from ocr_ray.pages.crop import crop_page
from ocr_ray.pages.files.load import PageLoader
from ocr_ray.pages.files.page_image import open_page
from ocr_ray.pages.files.store import PageStore, pair_pages
from ocr_ray.pages.label_part import ReadingInputs, ReadingStyle, label_part
from ocr_ray.pages.labels.read import read_label
from ocr_ray.pages.printed_text import write_markup
from ocr_ray.pages.synthetic.pages import SyntheticPage
from ocr_ray.storage.location import list_files, locate, read_bytes, write_bytes
from ocr_ray.text.markup import to_text

LABEL_LARGE_PAGE = Path(__file__).parent.parent / "harness/label_large_page.py"


@pytest.fixture(scope="module")
def pages(fonts) -> list[SyntheticPage]:
    return make_pages(fonts[0].content, 10)


def prepare(folder: Path, read: ReadImages, label_column: str = "text") -> tuple[ReadingInputs, PartSpec]:
    """Return inputs and spec to label the pages in a folder as one part; labels go to `<folder>-labels`."""
    store = PageStore(locate(str(folder)))
    files, rejects, _ = pair_pages(store.list().files)
    rows = [
        {"page_id": file.page_id, "image_path": file.image_path, "label_path": file.label_path}
        for file in files
    ]
    inputs = ReadingInputs(
        loader=PageLoader(store=store, box_format="xyxy", rejects=tuple(rejects), out_of_scope={"answer": 2}),
        pages=pa.Table.from_pylist(rows),
        style=ReadingStyle(label_column=label_column, image=NATIVE.image),
        labels=locate(f"{folder}-labels"),
        read=read,
    )
    return inputs, PartSpec(split="train", index=0, start=0, stop=len(rows))


def lines_of(rows: list[PartRow]) -> list[TextLine]:
    return [row for row in rows if isinstance(row, TextLine)]


def count(rows: list[PartRow]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        if isinstance(row, TopicCount):
            counts.setdefault(row.topic, Counter())[row.name] += row.number
    return counts


def remove_spaces(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("label_column", ["text", "markup"])
def test_a_perfect_reader_restores_the_labels(pages, label_column: str, tmp_path) -> None:
    write_unread(locate(str(tmp_path / "pages")), pages)
    rows = list(label_part(*prepare(tmp_path / "pages", learn(pages, label_column), label_column)))
    written = locate(str(tmp_path / "pages-labels"))
    assert list(list_files(written)) == sorted(f"{page.page_id}.json" for page in pages)
    by_page = {page.page_id: page for page in pages}
    for page_id, page in by_page.items():
        expected = read_label(page.label_bytes, page_id)
        content = read_bytes(written / f"{page_id}.json")
        label = read_label(content, page_id)
        assert label.schema == "71716"
        assert [(b.x0, b.y0, b.x1, b.y1) for b in label.boxes] == [
            (b.x0, b.y0, b.x1, b.y1) for b in expected.boxes
        ]
        for box, expected_box in zip(label.boxes, expected.boxes, strict=True):
            assert remove_spaces(to_text(box.markup)) == remove_spaces(to_text(expected_box.markup))
            assert box.markup.count("\n") == expected_box.markup.count("\n")
            if label_column == "markup":
                assert box.markup == expected_box.markup
        assert remove_spaces(to_text(label.problem_markup)) == remove_spaces(to_text(expected.problem_markup))
        # The written label gives the same crops as the original label.
        image = open_page(page.image_bytes)
        crops, expected_crops = (crop_page(source, image, NATIVE) for source in (label, expected))
        assert [(line.image_bytes, line.text, line.page_order) for line in crops.lines] == [
            (line.image_bytes, line.text, line.page_order) for line in expected_crops.lines
        ]
        page_lines = [line for line in lines_of(rows) if line.page_id == page_id]
        assert [(line.line_id, line.image_bytes, line.text, line.page_order) for line in page_lines] == [
            (line.line_id, line.image_bytes, line.text, line.page_order) for line in expected_crops.lines
        ]
    assert not [row for row in rows if isinstance(row, Reject)]


def test_labels_with_texts_are_written_back_byte_for_byte(pages, tmp_path) -> None:
    chosen = [page for page in pages if page.page_id.startswith("P")]
    for page in chosen:
        write_bytes(locate(str(tmp_path / "pages")) / f"{page.page_id}.png", page.image_bytes)
        write_bytes(locate(str(tmp_path / "pages")) / f"{page.page_id}.json", page.label_bytes)
    for _ in label_part(*prepare(tmp_path / "pages", learn(chosen, "markup"), "markup")):
        pass
    for page in chosen:
        assert (tmp_path / f"pages-labels/{page.page_id}.json").read_bytes() == page.label_bytes


def test_lines_of_low_confidence_are_flagged(pages, tmp_path) -> None:
    write_unread(locate(str(tmp_path / "pages")), pages)
    rows = list(label_part(*prepare(tmp_path / "pages", learn(pages))))
    unsure = [line for line in lines_of(rows) if DOUBT in line.text]
    assert 0 < len(unsure) < len(lines_of(rows))
    for line in lines_of(rows):
        assert line.flags == (("low_confidence",) if line in unsure else ())
        assert line.confidence == (0.5 if line in unsure else 0.99)
        assert line.style is None
    assert count(rows)["flagged"] == {"low_confidence": len(unsure)}


def test_readings_that_may_be_incomplete_are_flagged(pages, tmp_path) -> None:
    write_unread(locate(str(tmp_path / "pages")), pages[:1])

    def read(images) -> list[LineReading]:
        return [
            LineReading("다섯 명\ufffd", 0.998, reached_limit=True),
            *[LineReading("줄", 0.95)] * len(images),
        ][: len(images)]

    rows = list(label_part(*prepare(tmp_path / "pages", read)))
    first, *others = lines_of(rows)
    assert first.text == "다섯 명\ufffd"
    assert first.flags == ("reached_limit", "replacement_character")
    assert {line.flags for line in others} == {()}
    assert count(rows)["flagged"] == {"reached_limit": 1, "replacement_character": 1}


def test_every_box_and_page_is_a_line_or_a_reject_and_counted(pages, tmp_path) -> None:
    folder = locate(str(tmp_path / "pages"))
    chosen = sorted(pages, key=lambda page: page.page_id)[:5]  # in the order in which they are read
    write_unread(folder, chosen)
    document = json.loads(forget_texts(chosen[0].label_bytes)[3:])
    boxes = document["OCR_info"][0]["question_bbox"]
    boxes.append({"type": "line", "bbox": [5000, 0, 5100, 20], "text": "옛 글"})
    boxes.append({"type": "line", "bbox": [0, 0, 700, 7], "text": ""})  # the upper margin
    write_bytes(folder / f"{chosen[0].page_id}.json", json.dumps(document).encode())
    write_bytes(folder / f"{chosen[1].page_id}.png", b"no image")
    write_bytes(folder / f"{chosen[2].page_id}.json", b"{}")
    write_bytes(
        folder / f"{chosen[3].page_id}.json", b'{"OCR_info":[{"question_text":"","question_bbox":[]}]}'
    )
    write_bytes(folder / "alone.png", b"")

    def read(images) -> list[LineReading]:
        return [LineReading(f"줄 {number}" if number else r"\frac", 1.0) for number in range(len(images))]

    rows = list(label_part(*prepare(tmp_path / "pages", read)))
    rejects = sorted((row.page_id, row.reason, row.box) for row in rows if isinstance(row, Reject))
    last = len(boxes) - 1
    assert rejects == sorted(
        [
            (chosen[0].page_id, "box_outside_page", str(last - 1)),
            (chosen[0].page_id, "unsupported_markup", "0"),
            (chosen[1].page_id, "bad_image", None),
            (chosen[2].page_id, "unknown_schema", None),
            (chosen[3].page_id, "no_line_boxes", None),
            ("alone", "missing_label", None),
        ]
    )
    counted = count(rows)
    assert counted["pages"] == {"read": 2, "rejected": 4}
    assert counted["pages_out_of_scope"] == {"answer": 2}
    num_boxes = sum(box["type"] == "line" for box in boxes) + len(chosen[4].boxes)
    assert counted["boxes"] == {"cut": num_boxes - 1, "rejected": 1}
    assert len(lines_of(rows)) == num_boxes - 2
    assert counted["flagged"] == {"no_ink": 1}
    labels = sorted(path.name for path in (tmp_path / "pages-labels").iterdir())
    assert labels == sorted(f"{page.page_id}.json" for page in (chosen[0], chosen[4]))
    kept = json.loads((tmp_path / f"pages-labels/{chosen[0].page_id}.json").read_bytes()[3:])
    texts = [box["text"] for box in kept["OCR_info"][0]["question_bbox"]]
    assert (texts[0], texts[last - 1]) == (r"\frac", "옛 글")


def test_boxes_as_large_as_their_page_do_not_fill_the_memory(tmp_path) -> None:
    program = [sys.executable, LABEL_LARGE_PAGE, tmp_path, "4000", "3000", "1000"]
    result = json.loads(subprocess.run(program, capture_output=True, check=True).stdout)
    assert result["rows"] == {"TextLine": 16, "boxes_too_large": 984}  # 200 million pixels in all
    assert result["peak_mib"] < 300  # the boxes have 12 MB each


def test_odd_pages_are_counted(pages, tmp_path) -> None:
    write_unread(locate(str(tmp_path / "pages")), pages[:2])
    buffer = io.BytesIO()
    Image.new("L", (700, 200)).save(buffer, "PNG")
    write_bytes(locate(str(tmp_path / "pages")) / f"{pages[0].page_id}.png", buffer.getvalue())
    read = lambda images: [LineReading("줄", 1.0)] * len(images)  # noqa: E731
    counted = count(list(label_part(*prepare(tmp_path / "pages", read))))
    assert counted["warnings"] == {"dark_page": 1}


@pytest.mark.parametrize("packing", ["folder", "zip"])
def test_a_page_can_have_any_name_that_its_label_file_can_have(pages, packing: str, tmp_path) -> None:
    page, longest = pages[0], "가" * 83 + "x"  # 250 bytes, and five of `.json`
    names = {"folder": [longest, "나" * 70], "zip": [longest, longest + "x", "나" * 400]}[packing]
    members = [
        ZipMember(name=f"{name}.{ending}".encode(), flags=UTF8, content=content)
        for name in names
        for ending, content in (("png", page.image_bytes), ("json", page.label_bytes))
    ]
    files = {member.name.decode(): member.content for member in members}
    for name, content in (files if packing == "folder" else {"x.zip": make_zip(*members)}).items():
        write_bytes(locate(str(tmp_path / "pages")) / name, content)
    rows = list(label_part(*prepare(tmp_path / "pages", learn(pages))))
    written = {name for name in names if len(name.encode()) <= 250}
    assert {path.stem for path in (tmp_path / "pages-labels").iterdir()} == written
    assert {line.page_id for line in lines_of(rows)} == written
    rejected = {row.page_id: row.reason for row in rows if isinstance(row, Reject)}
    assert rejected == dict.fromkeys(set(names) - written, "name_too_long")


@pytest.mark.parametrize(("label_column", "reading"), [("text", " "), ("text", "None"), ("markup", "$ $")])
def test_an_empty_reading_is_a_reject(pages, label_column: str, reading: str, tmp_path) -> None:
    write_unread(locate(str(tmp_path / "pages")), pages[:1])
    read = lambda images: [LineReading(reading, 0.9)] * len(images)  # noqa: E731
    rows = list(label_part(*prepare(tmp_path / "pages", read, label_column)))
    assert not lines_of(rows)
    assert {row.reason for row in rows if isinstance(row, Reject)} == {"empty_text"}


def test_a_reading_becomes_canonical_text_and_markup(pages, tmp_path) -> None:
    write_unread(locate(str(tmp_path / "pages")), pages[:1])
    read = lambda images: [LineReading("３ ×  8 = 24 ㎠", 1.0)] * len(images)  # noqa: E731
    rows = list(label_part(*prepare(tmp_path / "pages", read)))
    assert {(line.text, line.markup) for line in lines_of(rows)} == {
        ("3 × 8 = 24 cm²", r"$3 \times 8 = 24$ cm²")
    }


@given(st.text(st.sampled_from("가나 3×÷=$%{}<b>()□.²")))
def test_the_markup_of_any_reading_prints_as_the_reading(text: str) -> None:
    text = " ".join(text.split())
    assert to_text(write_markup(text)) == text


def test_a_backslash_has_no_markup() -> None:
    with pytest.raises(LabelError, match="unsupported_markup"):
        write_markup("가\\나")


def test_pages_are_read_in_few_calls_and_any_division_into_parts_gives_the_same_rows(pages, tmp_path) -> None:
    write_unread(locate(str(tmp_path / "pages")), pages)
    reader, sizes = learn(pages), []

    def read(images) -> list[LineReading]:
        sizes.append(len(images))
        return reader(images)

    inputs, spec = prepare(tmp_path / "pages", read)
    whole = lines_of(list(label_part(inputs, spec)))
    assert len(sizes) == int(np.ceil(len(pages) / 16))
    assert sum(sizes) == len(whole)
    parts = [
        PartSpec(split="train", index=k + 1, start=s, stop=min(s + 7, 20)) for k, s in enumerate((0, 7, 14))
    ]
    assert [line for part in parts for line in lines_of(list(label_part(inputs, part)))] == whole
