import hashlib
from dataclasses import replace

import datasets
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.dataset.lines import (
    DIGEST_MODULUS,
    SCHEMA,
    PartSpec,
    PartStats,
    Reject,
    RowSummary,
    TextLine,
    WordOrigin,
    is_lines_schema,
    lines_to_table,
    table_to_lines,
)

SPEC = PartSpec(split="train", index=0, start=0, stop=8)
texts = st.text(st.characters(exclude_categories=["Cs"]))
text_lines = st.builds(
    TextLine,
    line_id=texts,
    image_bytes=st.binary(),
    text=texts,
    markup=texts,
    source=st.sampled_from(["words", "page"]),
    width_px=st.integers(1, 2**31 - 1),
    height_px=st.integers(1, 2**31 - 1),
    font=st.none() | texts,
    page_id=st.none() | texts,
    page_order=st.none() | st.integers(0, 2**31 - 1),
    style=st.none() | texts,
    confidence=st.none() | st.floats(0, 1, width=32),
    flags=st.none() | st.lists(texts).map(tuple),
    spliced_from=st.none()
    | st.lists(st.builds(WordOrigin, line_id=texts, word_index=st.integers(0, 2**31 - 1))).map(tuple),
)


def summarize(rows: list[TextLine | Reject]) -> PartStats:
    summary = RowSummary()
    for row in rows:
        summary.add(row)
    return summary.to_stats(SPEC)


@given(st.lists(text_lines))
def test_rows_survive_arrow(lines: list[TextLine]) -> None:
    table = lines_to_table(lines)
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert table_to_lines(table) == lines


def test_row_digest_of_a_line_worked_by_hand() -> None:
    line = TextLine(
        line_id="1", image_bytes=b"\xff", text="가", markup="", source="page", width_px=9, height_px=9
    )
    one, three, zero, four = (n.to_bytes(8, "little") for n in (1, 3, 0, 4))
    null = b"\xff" * 8
    fields = one + b"1", one + b"\xff", three + "가".encode(), zero, null, four + b"page"
    assert line.digest() == hashlib.sha256(b"".join(fields)).digest()


@given(text_lines, st.lists(st.integers(1, 6)))
def test_grades_are_neither_stored_nor_in_the_digest(line: TextLine, grades: list[int]) -> None:
    graded = replace(line, grades=tuple(grades))
    assert graded.digest() == line.digest()
    assert table_to_lines(lines_to_table([graded])) == [line]


@given(st.lists(text_lines, max_size=8), st.integers(0, 8))
def test_digest_sum_is_the_same_for_any_parts(lines: list[TextLine], cut: int) -> None:
    whole = int(summarize([*lines]).digest_sum, 16)
    pieces = [int(summarize([*piece]).digest_sum, 16) for piece in (lines[:cut], lines[cut:])]
    assert whole == sum(pieces) % DIGEST_MODULUS


@given(st.lists(text_lines, max_size=8), st.integers(0, 8))
def test_rows_and_rejects_are_counted_separately_and_hashed_in_order(
    lines: list[TextLine], index: int
) -> None:
    rejects = [Reject(reason="no_image", number=12), Reject(reason="bad_image"), Reject(reason="no_image")]
    stats = summarize([*lines[:index], *rejects, *lines[index:]])
    assert stats.rejects == {"bad_image": 1, "no_image": 2}
    assert (stats.rows, stats.num_rejects) == (len(lines), 3)
    assert stats.rows_sha256 == hashlib.sha256(b"".join(line.digest() for line in lines)).hexdigest()
    assert sum(stats.by_source.values()) == len(lines)
    assert sum(stats.by_font.values()) == sum(line.font is not None for line in lines)


@given(st.lists(text_lines))
def test_lines_of_earlier_versions_are_read_without_the_columns_after_style(lines: list[TextLine]) -> None:
    added = ["confidence", "flags", "spliced_from"]
    earlier = lines_to_table(lines).drop_columns(added)
    assert earlier.schema.names[-1] == "style"
    assert is_lines_schema(earlier.schema)
    assert not is_lines_schema(earlier.drop_columns(["style"]).schema)
    assert table_to_lines(earlier) == [replace(line, **dict.fromkeys(added)) for line in lines]


@given(text_lines)
def test_confidence_flags_and_origins_are_not_in_the_digest(line: TextLine) -> None:
    bare = replace(line, confidence=None, flags=None, spliced_from=None)
    assert line.digest() == bare.digest()


def test_part_stats_survive_json() -> None:
    stats = summarize([Reject(reason="no_image", number=12)])
    assert PartStats.from_json(stats.to_json()) == stats


def test_hugging_face_datasets_decodes_the_images(tmp_path) -> None:
    image = Image.new("L", (20, 10), 77)
    line = TextLine(
        line_id="0",
        image_bytes=encode_image(image, ImageConfig(size="native", format="png")),
        text="가",
        markup="가",
        source="page",
        width_px=20,
        height_px=10,
        confidence=0.5,
        flags=("low_confidence",),
        spliced_from=(WordOrigin("p#0", 2),),
    )
    pq.write_table(lines_to_table([line]), tmp_path / "part-00000.parquet")
    files = str(tmp_path / "*.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, cache_dir=tmp_path / "cache")
    row = rows["train"][0]
    assert row["image"].tobytes() == image.tobytes()
    assert (row["confidence"], row["flags"]) == (0.5, ["low_confidence"])
    assert row["spliced_from"] == [{"line_id": "p#0", "word_index": 2}]
