"""Pages with a fault for every reject reason of pages and boxes, and the expected result."""

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ocr_ray.pages.synthetic.pages import Schema, SyntheticPage, make_page
from ocr_ray.storage.location import Location, write_bytes

QUESTION = "문항(텍스트)"
Corners = tuple[float, float, float, float]


@dataclass(kw_only=True)
class Expected:
    """The expected result of the written pages; every box gives one line unless stated otherwise."""

    page_rejects: Counter[str] = field(default_factory=Counter)
    box_rejects: Counter[str] = field(default_factory=Counter)
    pages_out_of_scope: Counter[str] = field(default_factory=Counter)
    """Model answers and handwriting."""
    boxes_out_of_scope: Counter[str] = field(default_factory=Counter)
    """Images and tables, in 71859 also answers and solutions, on pages that are read."""
    warnings: Counter[str] = field(default_factory=Counter)
    num_boxes: int = 0
    """Text boxes on pages that are read."""
    texts: dict[str, list[str]] = field(default_factory=dict)
    """The lines of each page that is read, by its id."""

    @property
    def num_pages(self) -> int:
        return len(self.texts) + self.page_rejects.total() + self.pages_out_of_scope.total()

    @property
    def num_lines(self) -> int:
        return sum(map(len, self.texts.values()))

    @property
    def rejects(self) -> dict[str, int]:
        return dict(sorted((self.page_rejects + self.box_rejects).items()))

    @property
    def out_of_scope(self) -> dict[str, int]:
        return dict(sorted((self.pages_out_of_scope + self.boxes_out_of_scope).items()))


class Draft:
    """A page that a case can damage."""

    def __init__(self, page: SyntheticPage, schema: Schema) -> None:
        self.page, self.schema = page, schema
        self.page_id = page.page_id
        self.document: Any = json.loads(page.label_bytes.decode("utf-8-sig"))
        self.files = {self.image_path: page.image_bytes}
        self.expected = Expected()
        boxes = [box for box in page.boxes if box.part in ("", QUESTION)]
        self.expected.num_boxes = len(boxes)
        self.texts: list[str] | None = [line.text for box in boxes for line in box.lines]
        self.corners = [line.box for box in boxes for line in box.lines]
        self.expected.boxes_out_of_scope.update(box.part for box in page.boxes if box not in boxes)
        if page.figure:
            self.expected.boxes_out_of_scope["image" if schema == "71716" else "문항(이미지)"] += 1

    @property
    def image_path(self) -> str:
        return f"images/{self.page_id}.png"

    @property
    def label_path(self) -> str:
        return f"labels/{self.page_id}.json"

    def reject(self, reason: str) -> None:
        """Expect the page to be rejected, and nothing else."""
        self._forget()
        self.expected.page_rejects[reason] += 1

    def leave_out(self, kind: str) -> None:
        """Expect the page to be out of scope, and nothing else."""
        self._forget()
        self.expected.pages_out_of_scope[kind] += 1

    def _forget(self) -> None:
        self.texts, self.expected = None, Expected()

    def add_box(self, markup: object, corners: Corners | None = None, reason: str | None = None) -> None:
        """Add a text box, by default around the first line; with a reason, expect it to be rejected."""
        values = list(corners or self.corners[0])
        if self.schema == "71716":
            entries = self.document["OCR_info"][0]["question_bbox"]
            entries.append({"type": "line", "bbox": values, "text": markup})
        else:
            entry = {"Type": "Bounding_Box", "Type_value": [values], "text_description": markup}
            self.document["learning_data_info"][0]["class_info_list"].append(entry)
        self.expected.num_boxes += 1
        if reason:
            self.expected.box_rejects[reason] += 1

    def encode(self) -> dict[str, bytes]:
        """Return the files of the page by path."""
        if self.document is None:
            return self.files
        label = json.dumps(self.document, ensure_ascii=False).encode("utf-8-sig")
        return {self.label_path: label, **self.files}


Case = Callable[[Draft], None]


def write_faulty_pages(
    folder: Location, *, schema: Schema, seed: int, font_bytes: bytes, num_pages: int = 200
) -> Expected:
    """Write pages, the first ones with one fault each; return the expected result of all."""
    pending, total = list(CASES), Expected()
    for number in range(num_pages):
        draft = Draft(make_page(seed, number, font_bytes=font_bytes, schema=schema), schema)
        case = next((case for case in pending if case not in OF_TWO_LINES or len(draft.corners) > 1), None)
        if case:
            pending.remove(case)
            case(draft)
        for path, content in draft.encode().items():
            write_bytes(folder / path, content)
        for name in ("page_rejects", "box_rejects", "pages_out_of_scope", "boxes_out_of_scope", "warnings"):
            getattr(total, name).update(getattr(draft.expected, name))
        total.num_boxes += draft.expected.num_boxes
        if draft.texts is not None:
            total.texts[draft.page.page_id] = draft.texts
    assert not pending, f"{num_pages} pages are too few for all cases"
    return total


def _encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _remove_image(draft: Draft) -> None:
    del draft.files[draft.image_path]
    draft.reject("missing_image")


def _remove_label(draft: Draft) -> None:
    draft.document = None
    draft.reject("missing_label")


def _repeat_image(draft: Draft) -> None:
    draft.files[f"more/{draft.page_id}.png"] = draft.page.image_bytes
    draft.expected.page_rejects["duplicate_page"] += 1


def _damage_label(reason: str, damage: Callable[[bytes], bytes]) -> Case:
    def case(draft: Draft) -> None:
        draft.files[draft.label_path] = damage(draft.page.label_bytes)
        draft.document = None
        draft.reject(reason)

    return case


def _damage_image(damage: Callable[[bytes], bytes]) -> Case:
    def case(draft: Draft) -> None:
        draft.files[draft.image_path] = damage(draft.page.image_bytes)
        draft.reject("bad_image")

    return case


def _add_box(reason: str, markup: object = "다음", corners: Corners | None = None) -> Case:
    return lambda draft: draft.add_box(markup, corners, reason)


def _join_lines(draft: Draft, markup: str) -> None:
    """Add a box around the first two lines, whose text has another number of lines."""
    (left, top, right, _), (other_left, _, other_right, bottom) = draft.corners[:2]
    draft.add_box(
        markup, (min(left, other_left), top, max(right, other_right), bottom), reason="multi_line_box"
    )


def _omit_break(draft: Draft) -> None:
    _join_lines(draft, "첫째 줄과 둘째 줄")


def _add_breaks(draft: Draft) -> None:
    _join_lines(draft, "첫째 줄\n둘째 줄\n셋째 줄")


def _add_answer_file(draft: Draft) -> None:
    draft.files[f"labels/{draft.page_id}_A.json"] = json.dumps({"answer_info": []}).encode()
    draft.expected.pages_out_of_scope["answer"] += 1


def _add_handwriting_files(draft: Draft) -> None:
    for ending, content in (("jpeg", b"\xff\xd8"), ("json", b"{}")):
        draft.files[f"handwriting/{draft.page_id}_1_O.{ending}"] = content
    draft.expected.pages_out_of_scope["handwriting"] += 1


def _make_answer(draft: Draft) -> None:
    draft.document = {"answer_info": [{"answer_text": "4"}]}
    draft.leave_out("answer")


def _add_table(draft: Draft) -> None:
    if draft.schema == "71716":
        entry = {"type": "table", "bbox": [1, 1, 9, 9], "text": "None"}
        draft.document["OCR_info"][0]["question_bbox"].insert(0, entry)
        draft.expected.boxes_out_of_scope["table"] += 1
    else:
        entry = {"Type": "Bounding_Box", "Type_value": [[1.0, 1.0, 9.0, 9.0]], "text_description": ""}
        group = {"class_num": 1, "class_name": "보기(이미지)", "class_info_list": [entry]}
        draft.document["learning_data_info"].append(group)
        draft.expected.boxes_out_of_scope["보기(이미지)"] += 1


def _add_text_of_another_problem(draft: Draft) -> None:
    draft.add_box("없는 문제")
    assert draft.texts is not None
    draft.texts.append("없는 문제")
    if draft.schema == "71716":  # 71859 does not give the whole problem
        draft.expected.warnings["text_not_in_problem"] += 1


def _store_as_jpeg(draft: Draft) -> None:
    """A greyscale JPEG, a label without byte order mark, names in NFD as on macOS: all are valid."""
    page = Image.open(io.BytesIO(draft.files.pop(draft.image_path))).convert("RGBA")
    paper = Image.new("RGBA", page.size, "white")
    paper.alpha_composite(page)
    name = unicodedata.normalize("NFD", draft.page_id)
    draft.files[f"images/{name}.jpg"] = _encode(paper.convert("L"), "JPEG")
    draft.files[f"labels/{name}.json"] = draft.page.label_bytes.removeprefix(b"\xef\xbb\xbf")
    draft.document = None


def _add_other_files(draft: Draft) -> None:
    """Files of operating systems, which are neither pages nor rejects."""
    for path in (f"images/._{draft.page_id}.png", "images/Thumbs.db", ".DS_Store", "readme.txt"):
        draft.files[path] = b"\0"


CASES: tuple[Case, ...] = (
    _remove_image,
    _remove_label,
    _repeat_image,
    _damage_label("bad_json", lambda label: label[:-20]),
    _damage_label("bad_json", lambda label: b"[NaN]"),
    _damage_label("bad_json", lambda label: label.decode("utf-8-sig").encode("cp949", errors="ignore")),
    _damage_label("bad_json", lambda label: b"[" * 10_000 + b"]" * 10_000),
    _damage_label("unknown_schema", lambda label: b"[]"),
    _damage_label("unknown_schema", lambda label: b'{"pages": [{"lines": []}]}'),
    _damage_label(
        "unknown_schema", lambda label: label.replace(b"question_bbox", b"x").replace(b"Type", b"x")
    ),
    _damage_image(lambda image: image[: len(image) // 2]),
    _damage_image(lambda image: _encode(Image.open(io.BytesIO(image)).convert("RGB"), "GIF")),
    _damage_image(lambda image: _encode(Image.new("1", (10_000, 5_001)), "PNG")),
    _damage_image(lambda image: b""),
    _add_box("box_outside_page", corners=(5_000, 10, 5_100, 30)),
    _add_box("box_outside_page", corners=(10, -60.5, 90, -40.5)),
    _add_box("box_outside_page", corners=(1e300, 1e300, 1.5e300, 1.5e300)),
    _add_box("empty_box", corners=(100, 10, 40, 30)),
    _add_box("empty_box", corners=(40, 10, 100, 10)),
    _add_box("box_too_small", corners=(40, 10, 43, 30)),
    _add_box("box_too_small", corners=(-90, 10, 2.5, 30)),
    _add_box("empty_text", markup="None"),
    _add_box("empty_text", markup=" "),
    _add_box("empty_text", markup="$~$"),
    _add_box("empty_text", markup=None),
    _add_box("unsupported_markup", markup=r"$\begin{array}{r} 12 \\ 34 \end{array}$"),
    _add_box("unsupported_markup", markup=r"$\sqrt{2}$의 값"),
    _add_box("unsupported_markup", markup="값은 $3"),
    _add_box("unsupported_markup", markup="<table><tr><td>1</td></tr></table>"),
    _omit_break,
    _add_breaks,
    _add_answer_file,
    _add_handwriting_files,
    _make_answer,
    _add_table,
    _add_text_of_another_problem,
    _store_as_jpeg,
    _add_other_files,
)
OF_TWO_LINES = (_omit_break, _add_breaks)
"""Cases that need a page with two lines."""
