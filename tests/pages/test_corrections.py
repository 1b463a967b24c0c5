"""Corrections of labelled pages: files that hold them, and the lines and labels that they change."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from builders.reviewed import Labelled, label_here

from ocr_ray.dataset.lines import PartSpec, TextLine, TopicCount, lines_to_table, table_to_lines
from ocr_ray.dataset.parts import write_part
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.pages.apply_job import ApplyInputs, apply_part
from ocr_ray.pages.config import LabelConfig
from ocr_ray.pages.corrections import Corrections, check_corrections, correct_label, parse_corrections
from ocr_ray.pages.label_job import label_pages
from ocr_ray.pages.label_studio import PageTask, make_task, task_of_page
from ocr_ray.pages.labels.read import read_label
from ocr_ray.storage.location import locate, read_bytes
from ocr_ray.text.markup import to_text

SHA = "a" * 64


def make_line(line_id: str, text: str, **fields) -> TextLine:
    fields = {"markup": text, "confidence": 0.5, "flags": ("low_confidence",), **fields}
    return TextLine(
        line_id=line_id, image_bytes=b"", text=text, source="page", width_px=9, height_px=9, **fields
    )


@pytest.fixture(scope="module")
def labelled(fonts, tmp_path_factory) -> Labelled:
    """Pages of both schemas that a perfect reader has labelled."""
    return label_here(tmp_path_factory.mktemp("labelled"), fonts[0].content, 3)


def test_applied_corrections_change_lines_and_labels_and_nothing_else(labelled: Labelled, tmp_path) -> None:
    spec = PartSpec(split="train", index=0, start=0, stop=6)
    write_part(locate(str(labelled.folder)), spec, SHA, labelled.rows)
    lines = table_to_lines(lines_to_table(labelled.lines))
    wrong, right = lines[1], lines[-1]
    inputs = ApplyInputs(
        labelled=locate(str(labelled.folder)),
        config_sha256=SHA,
        labels=locate(str(tmp_path / "labels")),
        corrections=Corrections(
            dataset=SHA, texts={wrong.line_id: "사과  $7개, 3 × 8 = 24", right.line_id: None}
        ),
        label_column="text",
        box_format="xyxy",
    )
    rows = list(apply_part(inputs, spec))
    now = [row for row in rows if isinstance(row, TextLine)]
    assert [line.line_id for line in now] == [line.line_id for line in lines]
    assert now[1] == replace(
        wrong,
        text="사과 $7개, 3 × 8 = 24",
        markup=r"사과 \$$7$개, $3 \times 8 = 24$",
        confidence=None,
        flags=(),
    )
    assert now[-1] == replace(right, flags=())
    assert now[:1] + now[2:-1] == lines[:1] + lines[2:-1]
    counts = {(row.topic, row.name): row.number for row in rows if isinstance(row, TopicCount)}
    review = {name: number for (topic, name), number in counts.items() if topic == "review"}
    assert review == {"accepted": 1, "corrected": 1, "not_reviewed": len(lines) - 2}
    assert counts["pages", "read"] == 6
    for page in labelled.pages:
        path = f"{page.page_id}.json"
        before = (labelled.folder / "labels" / path).read_bytes()
        after = (tmp_path / "labels" / path).read_bytes()
        assert (after == before) == (page.page_id != wrong.page_id)
        texts = [to_text(line.markup) for line in now if line.page_id == page.page_id]
        boxes = read_label(after, page.page_id).boxes
        assert [to_text(row) for box in boxes for row in box.markup.split("\n")] == texts
    with pytest.raises(ProductionError, match="must be a part of its dataset"):
        list(apply_part(replace(inputs, config_sha256="b" * 64), spec))


def test_rejected_rows_and_equal_rows_keep_their_places_in_a_label() -> None:
    boxes = [
        {"type": "line", "bbox": [0, 0, 9, 9], "text": "가\n\\나\n가"},
        {"type": "line", "bbox": [0, 9, 9, 19], "text": "\\다"},
        {"type": "line", "bbox": [0, 19, 9, 29], "text": "라"},
    ]
    content = json.dumps({"OCR_info": [{"question_text": "", "question_bbox": boxes}]}).encode()
    first, second, last = make_line("P#4.0", "가"), make_line("P#4.2", "가"), make_line("P#7", "라")
    pairs = [(first, first), (second, replace(second, markup="마")), (last, replace(last, markup="바"))]
    written = json.loads(correct_label(content, pairs, rejected=[4, 5]).decode("utf-8-sig"))
    info = written["OCR_info"][0]
    assert [box["text"] for box in info["question_bbox"]] == ["가\n\\나\n마", "\\다", "바"]
    assert correct_label(content, [(line, line) for line, _ in pairs], rejected=[4, 5]) == content
    other = make_line("P#4.0", "하", page_id="P")
    with pytest.raises(ProductionError, match="the label of P must hold the texts of its lines"):
        correct_label(content, [(other, other)], rejected=[5, 7])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[1", "--apply must be the corrections.json"),
        ({"lines": {}}, "'dataset'"),
        ({"dataset": SHA, "lines": {"P#0": {"status": "skipped"}}}, "status must be accepted or corrected"),
        ({"dataset": SHA, "lines": {"P#0": {"status": "corrected", "text": 3}}}, "text must be a text"),
        ([], "all tasks must be of one dataset, got 0"),
        ([{"data": {"image": "x"}, "annotations": []}], "'dataset'"),
    ],
)
def test_a_file_that_holds_no_corrections_is_refused(document, message: str) -> None:
    content = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(InputError, match=f"corrections.json .*x.json is not: .*{message}|{message}"):
        parse_corrections(content.encode(), "x.json")


def test_unknown_lines_and_texts_that_cannot_be_printed_are_named() -> None:
    check_corrections(Corrections(dataset=SHA, texts={"P#0": None, "P#1": "7개"}), ["P#0", "P#1"], "text")
    with pytest.raises(InputError, match=r"1 are none, such as P#2"):
        check_corrections(Corrections(dataset=SHA, texts={"P#2": None}), ["P#0"], "text")
    for text, column in (("가\\나", "text"), (" ", "text"), (r"$\sqrt{2}$", "markup")):
        with pytest.raises(InputError, match=r"the text of P#0 must be printable"):
            check_corrections(Corrections(dataset=SHA, texts={"P#0": text}), ["P#0"], column)


def test_flags_that_do_not_belong_together_are_refused() -> None:
    for flags, message in (
        ({}, "--model-uri and --pages-uri must be given without --apply"),
        ({"apply": "c.json"}, "--labelled-uri must be given with --apply"),
        (
            {"model_uri": "m", "pages_uri": "p", "labelled_uri": "l"},
            "--labelled-uri must be given with --apply",
        ),
    ):
        with pytest.raises(InputError, match=message):
            label_pages(LabelConfig(out_uri="o", **flags))


def test_a_task_has_the_format_that_label_studio_documents() -> None:
    """The shape of https://labelstud.io/guide/predictions, worked out by hand for a page of 200 x 100 px."""
    lines = [
        (make_line("P#0", "탁자 7개", confidence=0.9), (20, 10, 120, 30)),
        (make_line("P#1", "끝", confidence=0.25), (20, 50, 40, 70)),
    ]
    page = PageTask("P", "/data/local-files/?d=pages/P.png", (200, 100), lines)
    task = make_task(page, SHA, "text")
    assert task["data"]["image"] == "/data/local-files/?d=pages/P.png"
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("ocr_ray", 0.25)
    assert prediction["result"][:2] == [
        {
            "id": "line0",
            "from_name": "bbox",
            "to_name": "image",
            "type": "rectangle",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.9,
            "value": {"x": 10.0, "y": 10.0, "width": 50.0, "height": 20.0, "rotation": 0},
        },
        {
            "id": "line0",
            "from_name": "transcription",
            "to_name": "image",
            "type": "textarea",
            "original_width": 200,
            "original_height": 100,
            "image_rotation": 0,
            "score": 0.9,
            "value": {
                "x": 10.0,
                "y": 10.0,
                "width": 50.0,
                "height": 20.0,
                "rotation": 0,
                "text": ["탁자 7개"],
            },
        },
    ]
    assert json.loads(json.dumps(task)) == task


def export(task: dict, *regions: tuple[str, list[float], str], **annotation) -> dict:
    """Return a task as https://labelstud.io/guide/task_format shows it, annotated with new region ids."""
    result = []
    for name, (x, y, width, height), text in regions:
        value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        common = {"id": name, "to_name": "image", "origin": "manual"}
        result.append({**common, "type": "rectangle", "from_name": "bbox", "value": value})
        transcription = {**value, "text": [text]}
        result.append({**common, "type": "textarea", "from_name": "transcription", "value": transcription})
    annotated = {"id": 1001, "was_cancelled": False, "result": result, **annotation}
    return {"id": 1, "data": task["data"], "annotations": [annotated], "predictions": []}


def test_an_export_is_read_by_where_its_regions_are() -> None:
    lines = [
        (make_line(f"P#{rank}", text), (20, 10 + 30 * rank, 120, 30 + 30 * rank))
        for rank, text in enumerate(["가", "나", "다"])
    ]
    task = make_task(PageTask("P", "P.png", (200, 100), lines), SHA, "text")
    moved, same, new = [11.0, 42.0, 47.0, 19.0], [10.0, 10.0, 50.0, 20.0], [80.0, 80.0, 10.0, 10.0]
    exported = export(task, ("xY1", moved, "너"), ("Zz2", same, "가"), ("n3", new, "새"))
    skipped = export(task, ("q", same, "틀림"), was_cancelled=True)
    corrections = parse_corrections(json.dumps([exported, skipped]).encode(), "export.json")
    assert corrections == Corrections(dataset=SHA, texts={"P#0": None, "P#1": "너"})
    other = {**exported, "data": {**exported["data"], "dataset": "b" * 64}}
    with pytest.raises(InputError, match="one dataset, got 2"):
        parse_corrections(json.dumps([exported, other]).encode(), "export.json")


def test_pages_go_to_label_studio_and_back(labelled: Labelled) -> None:
    tasks = [task_of_page(page, labelled.dataset, prefix="d/", margin_px=0) for page in labelled.reviewed]
    assert [task["data"]["image"] for task in tasks] == [f"d/{page.page_id}.png" for page in labelled.pages]
    annotated = [{**task, "annotations": task["predictions"]} for task in tasks]
    corrections = parse_corrections(json.dumps(annotated).encode(), "export.json")
    assert corrections.texts == dict.fromkeys(line.line_id for line in labelled.lines)
    label = read_bytes(locate(str(Path(labelled.folder) / "labels" / f"{labelled.pages[0].page_id}.json")))
    assert len(read_label(label, "").boxes) == len(tasks[0]["data"]["boxes"])
