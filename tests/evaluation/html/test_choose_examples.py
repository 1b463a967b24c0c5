"""Which lines a report shows."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ocr_ray.dataset.lines import TextLine, lines_to_table
from ocr_ray.evaluation.html.choose_examples import NUM_PER_CONFUSION, NUM_RANDOM, NUM_WORST, ChosenLines
from ocr_ray.evaluation.html.examples import Examples
from ocr_ray.evaluation.inputs import LinesPart
from ocr_ray.evaluation.predictions import PREDICTIONS_SCHEMA
from ocr_ray.evaluation.readings import read_table
from ocr_ray.storage.location import locate

CONFUSIONS = [("6", "8"), ("", "x"), ("?", "!")]


def make_rows(count: int) -> list[dict[str, str]]:
    """Return lines of which every third is wrong, and the later the worse."""
    rows = []
    for number in range(count):
        text = f"{number} 6 가나다라마바사아자차"
        wrong = text.replace("6", "8") + "x" * (number // 10)
        rows.append(
            {
                "dataset": "lines",
                "line_id": f"{number:09d}",
                "text": text,
                "prediction": text if number % 3 else wrong,
                "source": "words",
            }
        )
    return rows


def choose(folder: Path, rows: list[dict[str, str]], rows_per_part: int) -> Examples:
    """Return what is shown of lines in parts of a dataset on disk; images hold their line_id."""
    folder.mkdir()
    chosen, parts, tables = ChosenLines(), [], []
    for start in range(0, len(rows), rows_per_part):
        rows_of_part = rows[start : start + rows_per_part]
        lines = [
            TextLine(
                line_id=row["line_id"],
                image_bytes=row["line_id"].encode(),
                text=row["text"],
                markup=row["text"],
                source="words",
                width_px=9,
                height_px=9,
            )
            for row in rows_of_part
        ]
        path = folder / f"part-{start}.parquet"
        pq.write_table(lines_to_table(lines), path, row_group_size=7)
        parts.append(LinesPart(dataset="lines", location=locate(str(path))))
        tables.append(pa.Table.from_pylist(rows_of_part, schema=PREDICTIONS_SCHEMA))
        chosen.add(len(tables) - 1, read_table(tables[-1]))
    others = [{**row, "prediction": "other"} for row in rows if int(row["line_id"]) < 5]
    baseline = [pa.Table.from_pylist(others, PREDICTIONS_SCHEMA)]
    return chosen.read_examples(CONFUSIONS, parts, tables.__getitem__, baseline)


def test_the_same_lines_are_shown_however_they_are_cut_into_parts_and_ordered(tmp_path: Path) -> None:
    rows = make_rows(200)
    shown = choose(tmp_path / "a", rows, 200)
    random.Random(0).shuffle(rows)
    assert choose(tmp_path / "b", rows, 23) == shown
    assert len(shown.worst) == NUM_WORST
    assert len(shown.random) == NUM_RANDOM


def test_the_worst_lines_are_those_with_the_highest_error_rates(tmp_path: Path) -> None:
    shown = choose(tmp_path / "a", make_rows(200), 64).worst
    rates = [
        sum(a != b for a, b in line.ops)
        and sum(max(len(a), len(b)) for a, b in line.ops if a != b) / len(line.reference)
        for line in shown
    ]
    assert rates == sorted(rates, reverse=True)
    wrong = [number for number in range(200) if number % 3 == 0]
    assert {int(line.line_id) for line in shown[:10]} <= set(wrong[-30:])


def test_examples_carry_their_own_image_and_the_other_models_reading(tmp_path: Path) -> None:
    shown = choose(tmp_path / "a", make_rows(40), 11)
    lines = [*shown.worst, *shown.random, *shown.confusions["6", "8"]]
    assert lines
    for line in lines:
        assert line.image_bytes == line.line_id.encode()
        assert line.baseline_prediction == ("other" if int(line.line_id) < 5 else None)
    assert {line.baseline_prediction for line in lines} == {"other", None}


def test_six_typical_lines_are_shown_shared_by_the_kinds_of_errors(tmp_path: Path) -> None:
    kinds = choose(tmp_path / "a", make_rows(60), 11).kinds
    assert {kind: len(lines) for kind, lines in kinds.items()} == {"run_on": 3, "substitution": 3}
    assert all(line.prediction.endswith("xx") for line in kinds["run_on"])
    assert not any(line.prediction.endswith("xx") for line in kinds["substitution"])


def test_confusions_show_lines_that_have_them(tmp_path: Path) -> None:
    shown = choose(tmp_path / "a", make_rows(60), 60).confusions
    assert len(shown["6", "8"]) == len(shown["", "x"]) == NUM_PER_CONFUSION
    assert all(("6", "8") in line.ops for line in shown["6", "8"])
    assert shown["?", "!"] == []
