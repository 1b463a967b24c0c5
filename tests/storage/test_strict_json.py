import ast
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ocr_ray
from ocr_ray.errors import InputError, ProductionError
from ocr_ray.storage.location import exists, locate, read_json, write_bytes, write_json
from ocr_ray.storage.strict_json import parse_json, to_json

PACKAGE = Path(ocr_ray.__file__).parent
OTHER_FORMATS = {"storage/strict_json.py", "pages/labels/fields.py", "model/claims.py"}
"""The module itself, AI Hub's labels, whose damage is a counted reject, and models of others, which may hold
Infinity. `aws/` reads files of AWS."""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"cer": NaN}', "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ('{"cer": 1e999}', "1e999 is beyond the range of floats"),
        ('{"rows": 1, "rows": 2}', "'rows' twice"),
        ('"\\ud800"', "surrogates not allowed"),
        ("[" * 101 + "]" * 101, "at most 100 levels"),
        ('{"a":' * 200_000 + "1" + "}" * 200_000, "at most 100 levels"),
        ("", "Expecting value"),
        ('{"a": 1} b', "Extra data"),
        (b"\xff\xfe\xfa", "decode"),
        ('{"a": 1}'.encode("utf-16"), "decode"),
        ("9" * 5_000, "integer"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_is_no_strict_json_is_refused_by_its_name(content, reason, tmp_path) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(content)
    file = locate(str(tmp_path / "manifest.json"))
    write_bytes(file, content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=rf"manifest.json must hold JSON: .*{reason}"):
        read_json(file)


def test_nothing_that_is_no_number_is_written(tmp_path) -> None:
    file = locate(str(tmp_path / "report.json"))
    value = {"overall": {"cer": [0.5, (1.0, math.nan)]}, "lines": 3}
    with pytest.raises(ProductionError, match=r"report.json cannot be written: .* overall\.cer\.1\.1 is nan"):
        write_json(file, value)
    assert not exists(file)
    with pytest.raises(ValueError, match="it is -inf"):
        to_json(-math.inf)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    )
)
def test_what_is_written_is_read_back_by_this_and_by_pythons_reader(value) -> None:
    assert parse_json(to_json(value)) == json.loads(to_json(value, indent=2)) == value


def test_no_other_module_reads_or_writes_json() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and "json" in [name.name for name in node.names]
    }
    assert {user for user in users if not user.startswith("aws/")} == OTHER_FORMATS
