from concurrent.futures import ThreadPoolExecutor

import pytest
from builders.training_data import make_lines, make_texts, write_split

from ocr_ray.storage.location import locate
from ocr_ray.training.data.row_groups import RowGroupReader, Split, StoredLine, open_split, read_lines

LINES = make_lines(make_texts(24))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """24 lines in row groups of 4."""
    place = tmp_path_factory.mktemp("lines")
    write_split(place, "train", LINES, rows_per_group=4, rows_per_part=12)
    return open_split("lines", locate(str(place / "train")))


def test_a_row_group_is_read_as_it_was_written(split: Split) -> None:
    expected = [
        StoredLine(
            line_id=line.line_id,
            image_bytes=line.image_bytes,
            text=line.markup,
            source=line.source,
            width_px=line.width_px,
            height_px=line.height_px,
        )
        for line in LINES
    ]
    assert [line for group in split.row_groups for line in read_lines(group, "markup")] == expected


@pytest.mark.parametrize(
    ("asked", "num_reads"),
    [
        ([(0, 0), (0, 3), (0, 1), (0, 2)], 1),
        ([(0, 0), (0, 0), (0, 1)], 2),  # what was taken is read again
        ([(0, 0), (1, 0), (0, 1), (1, 1)], 2),
        ([(0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1)], 4),  # row group 1 was asked longest ago
    ],
)
def test_a_reader_gives_each_line_asked_for_whatever_it_holds(
    split: Split, asked: list[tuple[int, int]], num_reads: int
) -> None:
    with ThreadPoolExecutor(2) as pool:
        reader = RowGroupReader([split], pool, label_column="text", max_row_groups=2)
        refs = [reader.request(0, group, row) for group, row in asked]
        taken = [ref.take().line_id for ref in refs]
    assert taken == [f"words-{4 * group + row:05d}" for group, row in asked]
    assert reader.num_reads == num_reads


def test_a_line_that_was_taken_is_held_no_longer_unless_its_dataset_is_kept(split: Split) -> None:
    with ThreadPoolExecutor(1) as pool:
        for kept in (frozenset[str](), frozenset({"lines"})):
            reader = RowGroupReader([split], pool, label_column="text", max_row_groups=9, kept=kept)
            refs = [reader.request(0, 0, row) for row in (1, 1, 2)]
            assert [ref.take().line_id for ref in refs] == ["words-00001", "words-00001", "words-00002"]
            held = [line is not None for line in refs[2].lines.result()]
            assert held == ([True] * 4 if kept else [True, False, False, True])
            assert reader.num_reads == (1 if kept else 2)
