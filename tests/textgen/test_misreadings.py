"""What is read of a report: its misreadings, whatever their order; anything else is refused by name."""

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
    report = {"overall": {"counts": COUNTS}, "misreadings": entries} | values
    (folder / "report.json").write_text(json.dumps(report))
    return str(folder / "report.json")


def test_confusions_are_read_with_all_errors_beside_them(tmp_path) -> None:
    misreadings = read_misreadings(write_report(tmp_path), "--focus")
    assert misreadings.misreadings == (
        Misreading("갊", "갈", 5),
        Misreading(" ", "", 3),
        Misreading("", "1", 2),
    )
    assert misreadings.num_errors == 5 + 3 + 2


def test_the_hash_is_that_of_the_confusions_in_any_order_and_of_nothing_else(tmp_path) -> None:
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
        ("[]", r"--focus must be report.json of evaluate_trocr, .*report.json is none"),
        ('{"misreadings": []}', r"--focus must be report.json of evaluate_trocr, .*report.json is none"),
        ('{"overall": {"counts": {"character_hits": 3}}, "misreadings": []}', "report.json is none"),
        (
            json.dumps({"overall": {"counts": COUNTS}}),
            "with its misreadings, .* has none: evaluate the model",
        ),
        (json.dumps({"overall": {"counts": COUNTS}, "misreadings": []}), "empty list: leave --focus out"),
        (json.dumps({"overall": {"counts": COUNTS}, "misreadings": {}}), "must be objects of truth, read"),
    ],
)
def test_what_is_no_report_with_confusions_is_refused(report: str, message: str, tmp_path) -> None:
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
    with pytest.raises(InputError, match=r"misreadings of .*report.json must be objects of truth, read and"):
        read_misreadings(write_report(tmp_path, [*ENTRIES, entry]), "--focus")
