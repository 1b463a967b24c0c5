"""Labels written back with new texts: everything else stays, and they can be read again."""

import json
from typing import Any

from fakes.perfect_reader import forget_texts, make_pages

from ocr_ray.pages.labels.read import PageLabel, read_label
from ocr_ray.pages.labels.write import write_label

BOM = b"\xef\xbb\xbf"


def make_71716(texts: list[str], problem: str = "") -> bytes:
    boxes: list[dict[str, Any]] = [
        {"type": "line", "bbox": [0, 10 * rank, 99.5, 10 * rank + 9], "text": text}
        for rank, text in enumerate(texts)
    ]
    boxes.insert(1, {"type": "image", "bbox": [50, 50, 60, 60], "text": "None"})
    return json.dumps(
        {"id": 7, "OCR_info": [{"question_bbox": boxes, "question_text": problem}], "더": {"a": [1]}}
    ).encode()


def fill(content: bytes, markups: dict[int, str]) -> tuple[dict[str, Any], PageLabel]:
    written = write_label(content, read_label(content, "P3"), markups=markups, image_name="P3.jpg")
    assert written.startswith(BOM)
    return json.loads(written[3:].decode()), read_label(written, "P3")


def test_only_the_texts_of_lines_change() -> None:
    content = make_71716(["", ""])
    document, label = fill(content, {0: "탁자 $7$개", 2: "나"})
    expected = json.loads(content)
    info = expected["OCR_info"][0]
    info["question_bbox"][0]["text"], info["question_bbox"][2]["text"] = "탁자 $7$개", "나"
    info["question_text"] = "탁자 $7$개 나"
    assert document == expected
    assert [box.markup for box in label.boxes] == ["탁자 $7$개", "나"]


def test_a_box_without_a_reading_keeps_its_text_and_an_empty_reading_clears_it() -> None:
    document, _ = fill(make_71716(["가", "나", "다"]), {0: "라", 2: ""})
    assert [box["text"] for box in document["OCR_info"][0]["question_bbox"]] == ["라", "None", "", "다"]
    assert document["OCR_info"][0]["question_text"] == "라 다"


def test_the_problem_keeps_its_spaces_if_its_lines_are_unchanged() -> None:
    content = make_71716(["몇 명인지 나", "눗셈식으로"], "몇 명인지 나눗셈식으로")
    document, _ = fill(content, {0: "몇 명인지 나", 2: "눗셈식으로"})
    assert document["OCR_info"][0]["question_text"] == "몇 명인지 나눗셈식으로"
    document, _ = fill(content, {0: "몇 명인지 너", 2: "눗셈식으로"})
    assert document["OCR_info"][0]["question_text"] == "몇 명인지 너 눗셈식으로"


def test_a_label_with_unchanged_texts_is_written_back_byte_for_byte(fonts) -> None:
    for page in make_pages(fonts[0].content, 8)[:8]:
        label = read_label(page.label_bytes, page.page_id)
        markups = {box.index: box.markup for box in label.boxes}
        assert write_label(page.label_bytes, label, markups=markups, image_name="any.png") == page.label_bytes


def test_a_label_of_71859_becomes_one_of_71716_with_the_same_boxes_and_texts(fonts) -> None:
    for page in make_pages(fonts[0].content, 8)[8:]:
        expected = read_label(page.label_bytes, page.page_id)
        unread = forget_texts(page.label_bytes)
        markups = {box.index: box.markup for box in expected.boxes}
        label = read_label(unread, page.page_id)
        assert all(box.markup == "None" for box in label.boxes)
        written = write_label(unread, label, markups=markups, image_name="S3.png")
        document, again = json.loads(written[3:].decode()), read_label(written, page.page_id)
        assert (document["question_filename"], document["id"]) == ("S3.png", page.page_id)
        assert (again.schema, again.problem_markup) == ("71716", expected.problem_markup)
        assert [(b.x0, b.y0, b.x1, b.y1, b.markup) for b in again.boxes] == [
            (b.x0, b.y0, b.x1, b.y1, b.markup) for b in expected.boxes
        ]
