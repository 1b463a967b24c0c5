"""Misreadings of an evaluation report, in any order; other files are rejected by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from ocr_ray.errors import InputError
from ocr_ray.textgen.misreadings import Misreading, read_misreadings

COUNTS = {
    "character_hits": 90,
    "character_substitutions": 5,
    "character_deletions": 3,
    "character_insertions": 2,
}
ENTRIES = [
    {"truth": "갊", "read": "갈", "count": 5, "examples": []},
    {"truth": " ", "read": "", "count": 3},
    {"truth": "", "read": "1", "count": 2},
]


def write_report(folder: Path, entries: Any = ENTRIES, **values: Any) -> str:
    report = {"overall": {"counts": COUNTS}, "confusions": entries} | values
    (folder / "report.json").write_text(json.dumps(report))
    return str(folder / "report.json")


def test_misreadings_are_read_with_the_number_of_all_errors(tmp_path) -> None:
    report = read_misreadings(write_report(tmp_path), "--focus")
    assert report.misreadings == (
        Misreading("갊", "갈", 5),
        Misreading(" ", "", 3),
        Misreading("", "1", 2),
    )
    assert report.num_errors == 5 + 3 + 2


def test_the_hash_depends_only_on_the_confusions_and_not_on_their_order(tmp_path) -> None:
    def hash_report(*arguments: Any, **values: Any) -> str:
        return read_misreadings(write_report(tmp_path, *arguments, **values), "--focus").sha256

    split = [*ENTRIES[1:], ENTRIES[0] | {"count": 4}, ENTRIES[0] | {"count": 1}]
    assert hash_report() == hash_report(split) == hash_report(by_font={"바탕": {}})
    assert hash_report() != hash_report([ENTRIES[0] | {"count": 6}, *ENTRIES[1:]])
    assert hash_report() != hash_report([{"truth": "갈", "read": "갊", "count": 5}, *ENTRIES[1:]])


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("no JSON", "must hold JSON"),
        ("[]", r"--focus must be report.json of evaluate_trocr, .*report.json is not one"),
        ('{"confusions": []}', r"--focus must be report.json of evaluate_trocr, .*report.json is not one"),
        ('{"overall": {"counts": {"character_hits": 3}}, "confusions": []}', "report.json is not one"),
        (
            json.dumps({"overall": {"counts": COUNTS}}),
            "with confusions, .* has none: evaluate the model",
        ),
        (json.dumps({"overall": {"counts": COUNTS}, "confusions": []}), "empty list: leave --focus out"),
        (json.dumps({"overall": {"counts": COUNTS}, "confusions": {}}), "must be objects with truth, read"),
    ],
)
def test_a_file_that_is_no_report_with_confusions_is_rejected(report: str, message: str, tmp_path) -> None:
    (tmp_path / "report.json").write_text(report)
    with pytest.raises(InputError, match=message):
        read_misreadings(str(tmp_path / "report.json"), "--focus")


@pytest.mark.parametrize(
    "entry",
    [
        "갊갈",
        {"truth": "갊", "read": "갈"},
        {"truth": "갊", "count": 3},
        {"truth": "갊", "read": "갊", "count": 3},
        {"truth": "", "read": "", "count": 3},
        {"truth": "갊갊", "read": "갈", "count": 3},
        {"truth": 6, "read": 8, "count": 3},
        {"truth": "6", "read": "8", "count": 0},
        {"truth": "6", "read": "8", "count": True},
        {"truth": "6", "read": "8", "count": 1.5},
    ],
)
def test_a_confusion_is_two_characters_and_a_count(entry: Any, tmp_path) -> None:
    with pytest.raises(InputError, match=r"confusions of .*report.json must be objects with truth, read and"):
        read_misreadings(write_report(tmp_path, [*ENTRIES, entry]), "--focus")
