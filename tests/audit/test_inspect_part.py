"""Inspection of a part whose rows, footer or file are damaged in every way."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders.stub_lines import FONTS, make_line, make_rows
from harness.damage import drop_new_columns, rewrite_rows
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.audit.findings import write_ranges
from ocr_ray.audit.inspect_part import ExpectedPart, PartReport, Rules, inspect_part
from ocr_ray.audit.rerender import compare_rendered
from ocr_ray.dataset.lines import FIRST_SPLICED_NUMBER, PartSpec, PartStats, Reject, TextLine
from ocr_ray.dataset.parts import write_part
from ocr_ray.errors import RenderError
from ocr_ray.storage.location import Location, locate, read_bytes, write_bytes
from ocr_ray.textgen.holdout import is_held_out

SPEC = PartSpec(split="train", index=1, start=560, stop=1160)  # two row groups and a bit; 12 rejects
TEST_SPEC = PartSpec(split="test", index=0, start=800_000_001, stop=800_000_009)
RULES = Rules(
    config_sha256="c" * 64,
    is_rendered=True,
    fonts=frozenset(FONTS),
    test_fonts=frozenset(FONTS),
    holdout_word_share=0.0,
    is_square=False,
)
CROP_RULES = replace(RULES, is_rendered=False, fonts=frozenset(), test_fonts=frozenset())
CROP_SPEC = PartSpec(split="train", index=0, start=0, stop=1024)
Rows = list[TextLine | Reject]


def write(dataset: Location, rows: Rows, *, spec: PartSpec = SPEC, rules: Rules = RULES) -> ExpectedPart:
    """Write a part and return it as a manifest would describe it."""
    stats, _ = write_part(dataset, spec, rules.config_sha256, rows)
    return expect(stats)


def expect(stats: PartStats) -> ExpectedPart:
    return ExpectedPart(
        spec=stats.spec, rows=stats.rows, size_bytes=stats.size_bytes, rows_sha256=stats.rows_sha256
    )


def list_reasons(report: PartReport) -> dict[str, str]:
    return {finding.reason: finding.numbers for finding in report.findings}


@pytest.fixture
def dataset(tmp_path) -> Location:
    return locate(str(tmp_path))


@pytest.fixture
def part(dataset) -> ExpectedPart:
    """An intact part."""
    return write(dataset, list(make_rows(None, SPEC)))


def test_an_intact_part_has_no_findings(dataset, part) -> None:
    report = inspect_part(dataset, part, RULES)
    assert (report.findings, report.footer_agrees) == ((), True)
    assert (report.stats.rows, report.stats.rejects) == (588, {"missing_glyph": 12})
    assert report.stats.by_font == {"굴림": 300, "바탕": 288}


def replaced(number: int, **fields: object) -> Callable[[Rows], Rows]:
    def change(rows: Rows) -> Rows:
        return [
            replace(row, **fields) if isinstance(row, TextLine) and row.line_id == f"{number:09d}" else row
            for row in rows
        ]

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows[:7] + rows[8:10] + rows[12:], {"gap": "567,570-571"}),
        (lambda rows: [row for row in rows if row != make_line(561)], {"gap": "561"}),
        (lambda rows: rows[:40] + rows[41:], {"gap": "600"}),  # a reject
        (lambda rows: [*rows, make_line(561)], {"duplicate": "561"}),
        (lambda rows: [*rows, Reject(reason="missing_glyph", number=561)], {"duplicate": "561"}),
        (lambda rows: [*rows, make_line(559), make_line(1160)], {"foreign_line": "559,1160"}),
        (lambda rows: [*rows, Reject(reason="missing_glyph")], {"foreign_line": "-1"}),
        (replaced(561, line_id="561"), {"wrong_line_id": "", "gap": "561"}),
        (replaced(561, text="3×9=□"), {"wrong_text": "561"}),
        (replaced(561, markup="$\\sqrt{2}$"), {"wrong_text": "561"}),
        (replaced(561, text="넓이 3㎠", markup="넓이 $3㎠$"), {"wrong_text": "561"}),
        (replaced(561, font="궁서"), {"held_out_font": "561"}),
        (replaced(560, image_bytes=make_line(560).image_bytes[:-30]), {"wrong_image": "560"}),
        (replaced(560, width_px=9), {"wrong_image": "560"}),
    ],
)  # fmt: skip
def test_wrong_rows_are_found_by_number_even_if_the_footer_agrees(
    change: Callable[[Rows], Rows], expected: dict[str, str], dataset, part
) -> None:
    write(dataset, change(list(make_rows(None, SPEC))))
    report = inspect_part(dataset, part, RULES)
    reasons = list_reasons(report)
    assert {reason: reasons[reason] for reason in reasons.keys() - WHOLE_FILE} == expected
    assert report.footer_agrees  # `--verify rows` would keep the part


WHOLE_FILE = {"wrong_bytes", "wrong_rows", "wrong_digest"}


def test_squares_must_be_square(dataset, part) -> None:
    report = inspect_part(dataset, part, replace(RULES, is_square=True))
    assert list_reasons(report)["wrong_image"].startswith(
        "560,576,592,609"
    )  # every 16th row; 600 is a reject
    assert "not (384, 384)" in report.findings[0].detail


def test_a_changed_pixel_changes_the_digest(dataset, part) -> None:
    content = bytearray(read_bytes(dataset / SPEC.path))
    content[content.index(make_line(777).image_bytes) + 45] ^= 1
    write_bytes(dataset / SPEC.path, bytes(content))
    report = inspect_part(dataset, part, RULES)
    assert list_reasons(report) == {"wrong_digest": ""}
    assert not report.footer_agrees


def test_a_row_group_that_cannot_be_read_is_a_gap_of_its_numbers(dataset, part) -> None:
    content = bytearray(read_bytes(dataset / SPEC.path))
    with pq.ParquetFile((dataset / SPEC.path).path) as parquet:
        column = parquet.metadata.row_group(1).column(3)
        assert column.path_in_schema == "text"
        start, size = column.data_page_offset, column.total_compressed_size
    content[start : start + size] = b"\xff" * size
    write_bytes(dataset / SPEC.path, bytes(content))
    report = inspect_part(dataset, part, RULES)
    reasons = list_reasons(report)
    assert reasons == {"unreadable": "", "wrong_rows": "", "wrong_digest": "", "gap": reasons["gap"]}
    lost = [n for n in range(560, 1160) if n % 50][256:512]
    assert reasons["gap"] == write_ranges(lost)
    assert report.stats.rows == 588 - 256
    assert "row group 1" in report.findings[0].detail


def test_a_null_text_is_unreadable(dataset, part) -> None:
    table = pq.read_table((dataset / SPEC.path).path)
    texts = pa.array([None, *table["text"].to_pylist()[1:]], pa.string())
    rewrite_rows(dataset / SPEC.path, table.set_column(2, "text", texts))
    assert "unreadable" in list_reasons(inspect_part(dataset, part, RULES))


def test_a_missing_truncated_or_empty_part_is_reported_with_all_its_numbers(dataset, part) -> None:
    content = read_bytes(dataset / SPEC.path)
    for rest in (content[:-9], content[:200], b"", b"no parquet at all"):
        write_bytes(dataset / SPEC.path, rest)
        reasons = list_reasons(inspect_part(dataset, part, RULES))
        assert reasons == {"wrong_bytes": "", "unreadable": "560-1159"}
    dataset.filesystem.delete_file((dataset / SPEC.path).path)
    report = inspect_part(dataset, part, RULES)
    assert list_reasons(report) == {"missing_part": "560-1159"}
    assert (report.stats.rows, report.footer_agrees) == (0, False)


@pytest.mark.parametrize(
    ("spec", "sha", "detail"),
    [
        (replace(SPEC, index=2), "c", "it is train/part-00002.parquet, items 560 to 1159"),
        (replace(SPEC, stop=1161), "c", "items 560 to 1160"),
        (SPEC, "d", "another configuration"),
    ],
)
def test_a_part_of_another_position_or_plan_is_foreign(spec, sha: str, detail: str, dataset, part) -> None:
    stats, _ = write_part(dataset, spec, sha * 64, make_rows(None, SPEC))
    if stats.spec.path != SPEC.path:
        write_bytes(dataset / SPEC.path, read_bytes(dataset / stats.spec.path))
    (finding,) = (f for f in inspect_part(dataset, part, RULES).findings if f.reason != "wrong_bytes")
    assert (finding.path, finding.reason, finding.numbers) == (SPEC.path, "foreign_part", "560-1159")
    assert detail in finding.detail


def test_other_columns_are_foreign(dataset, part) -> None:
    rewrite_rows(dataset / SPEC.path, pa.table({"line_id": ["000000560"]}))
    (*_, finding) = inspect_part(dataset, part, RULES).findings
    assert (finding.reason, finding.numbers) == ("foreign_part", "560-1159")
    assert finding.detail == "its columns are line_id"


def test_a_part_without_the_newest_columns_can_be_audited(dataset, part) -> None:
    drop_new_columns(dataset / SPEC.path)
    report = inspect_part(dataset, part, RULES)
    assert set(list_reasons(report)) <= {"wrong_bytes"}
    assert (report.stats.rows_sha256, report.footer_agrees) == (part.rows_sha256, True)


def test_missing_or_wrong_rejects_are_found(dataset, part) -> None:
    rejects = (dataset / SPEC.rejects_path).path
    table = pq.read_table(rejects)
    pq.write_table(table.slice(1), rejects)
    report = inspect_part(dataset, part, RULES)
    assert list_reasons(report) == {"gap": "600", "wrong_rejects": ""}
    assert not report.footer_agrees
    write_bytes(dataset / SPEC.rejects_path, b"no parquet")
    assert set(list_reasons(inspect_part(dataset, part, RULES))) == {"gap", "unreadable"}
    dataset.filesystem.delete_file(rejects)
    report = inspect_part(dataset, part, RULES)
    assert {(f.path, f.reason) for f in report.findings} == {
        (SPEC.path, "gap"),
        (SPEC.rejects_path, "missing_rejects"),
    }
    assert not report.footer_agrees


def test_words_and_fonts_of_the_wrong_split_are_found(dataset) -> None:
    share = 0.3
    words = [chr(ord("가") + n) * 2 for n in range(60)]
    held_out, common = (
        next(word for word in words if is_held_out(word, share) == side) for side in (True, False)
    )
    rules = replace(RULES, holdout_word_share=share, test_fonts=frozenset({"궁서"}))
    for spec, first, word in ((SPEC, 560, held_out), (TEST_SPEC, 800_000_001, common)):
        other = common if word == held_out else held_out
        lines = [
            replace(make_line(number), text=text, markup=text, font=font)
            for number, text, font in zip(
                range(first, first + 4),
                (word, other, f"12 {word}!", other),
                (*FONTS, "궁서", "궁서"),
                strict=True,
            )
        ]
        part = write(dataset, lines, spec=replace(spec, stop=first + 4), rules=rules)
        reasons = list_reasons(inspect_part(dataset, part, rules))
        wrong_fonts = (first + 2, first + 3) if spec == SPEC else (first, first + 1)
        assert reasons["misplaced_token"] == f"{first},{first + 2}"
        assert reasons["held_out_font"] == f"{wrong_fonts[0]}-{wrong_fonts[1]}"


def make_crop(page_id: str, box: str) -> TextLine:
    line = make_line(len(page_id + box))
    return replace(line, line_id=f"{page_id}#{box}", page_id=page_id, font=None, source="page", style=None)


def test_crops_have_pages_and_boxes_instead_of_numbers(dataset) -> None:
    rows = [make_crop(page_id, box) for page_id in ("P3_1", "P3_2") for box in ("0", "1.0", "1.1")]
    part = write(dataset, rows, spec=CROP_SPEC, rules=CROP_RULES)
    report = inspect_part(dataset, part, CROP_RULES)
    assert (report.findings, report.footer_agrees, report.page_ids) == ((), True, {"P3_1", "P3_2"})
    rows[1:3] = [replace(rows[1], line_id="P3_1#"), rows[0]]
    rows[5] = replace(rows[5], page_id="P3_1")
    write(dataset, rows, spec=CROP_SPEC, rules=CROP_RULES)
    reasons = list_reasons(inspect_part(dataset, part, CROP_RULES))
    assert reasons["wrong_line_id"] == "1,5"
    assert reasons["duplicate"] == "2"


def test_spliced_lines_are_checked_by_their_numbers(dataset) -> None:
    first = FIRST_SPLICED_NUMBER
    spec = PartSpec(split="train", index=1, start=first, stop=first + 5)
    rows: Rows = [
        replace(make_crop("P3_1", "0"), line_id=f"spliced#{first + n}", page_id=None) for n in (0, 1, 3)
    ]
    rows.append(Reject(reason="no_words_fit", number=first + 2))
    part = write(dataset, rows, spec=spec, rules=CROP_RULES)
    assert list_reasons(inspect_part(dataset, part, CROP_RULES)) == {"gap": f"{first + 4}"}
    rows[1:3] = [rows[0], replace(rows[1], line_id="spliced#1")]
    write(dataset, rows, spec=spec, rules=CROP_RULES)
    assert list_reasons(inspect_part(dataset, part, CROP_RULES)).keys() >= {
        "duplicate",
        "wrong_line_id",
        "gap",
    }


@given(st.lists(st.integers(0, 60)))
def test_ranges_hold_every_number_once(numbers: list[int]) -> None:
    ranges = [[int(end) for end in part.split("-")] for part in write_ranges(numbers).split(",") if part]
    assert [n for ends in ranges for n in range(ends[0], ends[-1] + 1)] == sorted(set(numbers))
    assert all(before[-1] + 1 < after[0] for before, after in pairwise(ranges))


def make_or_raise(number: int) -> TextLine:
    if number % 50 == 0:
        raise RenderError("missing_glyph")
    return make_line(number)


def test_lines_and_rejects_rendered_again_are_the_same(dataset, part) -> None:
    numbers = [560, 600, 815, 1159]
    assert compare_rendered(dataset, SPEC, numbers, make_or_raise) == ((), 4)
    assert compare_rendered(dataset, SPEC, range(560, 1160), make_or_raise) == ((), 600)


@pytest.mark.parametrize(
    ("make", "numbers", "detail"),
    [
        (lambda n: replace(make_or_raise(n), image_bytes=b"x"), "560,815", "different image_bytes"),
        (
            lambda n: replace(make_or_raise(n), style="{ }", width_px=3),
            "560,815",
            "different width_px, style",
        ),
        (make_line, "600", "stored as missing_glyph, rendered again as a line"),
    ],
)
def test_a_difference_is_reported(make, numbers: str, detail: str, dataset, part) -> None:
    (finding,), num_compared = compare_rendered(dataset, SPEC, [560, 600, 815], make)
    assert (finding.path, finding.reason, finding.numbers) == (SPEC.path, "not_rerendered", numbers)
    assert (finding.detail, num_compared) == (detail, 3)


def test_a_line_that_cannot_be_rendered_again_differs(dataset, part) -> None:
    def fail(number: int) -> TextLine:
        raise RenderError("no_ink")

    (finding,), _ = compare_rendered(dataset, SPEC, [560, 600], fail)
    assert (finding.numbers, finding.detail) == (
        "560,600",
        "stored as missing_glyph, rendered again as no_ink",
    )


def test_missing_lines_are_not_compared(dataset) -> None:
    assert compare_rendered(dataset, SPEC, [560], make_or_raise) == ((), 0)
