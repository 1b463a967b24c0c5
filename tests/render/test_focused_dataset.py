"""`--focus` from the report to the dataset: plan, manifest, card and errors."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from ocr_ray.audit.config import AuditConfig, MovedConfig
from ocr_ray.audit.job import audit_lines
from ocr_ray.cli.flags import describe_flags
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.job import plan_rendering, render_lines, resolve_flag
from ocr_ray.storage.location import locate, read_bytes, read_json

pytestmark = pytest.mark.slow
COUNTS = {"character_substitutions": 500, "character_deletions": 60, "character_insertions": 9}
ENTRIES = [
    {"truth": "갊", "read": "갈", "count": 300},
    {"truth": "⅔", "read": "2", "count": 41},
    {"truth": " ", "read": "", "count": 50},
]


def write_report(path: Path, entries: list[dict]) -> str:
    path.write_text(json.dumps({"overall": {"counts": COUNTS}, "confusions": entries}))
    return str(path)


@pytest.fixture
def config(fonts, tmp_path) -> RenderConfig:
    return RenderConfig(
        out_uri=str(tmp_path / "lines"),
        num_lines=60,
        seed=7,
        fonts=(fonts[0].name,),
        sources=SourceConfig(focus=write_report(tmp_path / "report.json", ENTRIES)),
    )


def test_without_a_focus_the_plan_does_not_mention_it(config) -> None:
    focused, _ = plan_rendering(config)
    plain, inputs = plan_rendering(replace(config, sources=SourceConfig()))
    assert len(focused.config["focus_sha256"]) == 64
    assert plain.config == {name: value for name, value in focused.config.items() if name != "focus_sha256"}
    assert "focus" not in plain.flags | plain.notes
    assert inputs.text_inputs.misreadings == ()


def test_the_hash_in_the_plan_depends_on_the_misreadings_and_not_on_the_location(config, tmp_path) -> None:
    def plan(entries: list[dict]) -> str:
        sources = SourceConfig(focus=write_report(tmp_path / "other.json", entries))
        return plan_rendering(replace(config, sources=sources))[0].config_sha256

    first = plan_rendering(config)[0].config_sha256
    assert plan(ENTRIES[::-1]) == first
    assert plan([*ENTRIES, {"truth": "6", "read": "8", "count": 1}]) != first


@pytest.mark.usefixtures("ray_session")
def test_a_focused_dataset_is_described_resumed_and_audited(config, tmp_path) -> None:
    summary = render_lines(config)
    assert render_lines(config)["parts_made"] == 0
    manifest = read_json(locate(config.out_uri) / "manifest.json")
    focus = manifest["notes"]["focus"]
    assert focus["confusions"] == [ENTRIES[0], ENTRIES[2]]
    assert (focus["ignored"], focus["num_errors"]) == ({"⅔": 41}, 569)
    card = read_bytes(locate(config.out_uri) / "README.md").decode()
    assert "**Focused**: 50% of the lines" in card
    assert "| 갊 | 갈 | 300 |" in card
    assert f"--focus {tmp_path}/report.json" in card
    Path(tmp_path / "report.json").rename(tmp_path / "moved.json")
    moved = MovedConfig(focus=str(tmp_path / "moved.json"))
    audited = audit_lines(AuditConfig(lines_uri=config.out_uri, rerender=20, moved=moved))
    assert (audited["rerendered"], audited["lines"]) == (20, summary["lines"])
    write_report(tmp_path / "report.json", ENTRIES[:2])
    with pytest.raises(InputError, match=r"focus_sha256: .* there, .* now.*choose another --out-uri"):
        render_lines(config)
    with pytest.raises(InputError, match=r"focus_sha256: .* there, nothing now"):
        render_lines(replace(config, sources=SourceConfig()))


def test_misread_characters_that_no_line_contains_are_logged_or_rejected(config, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        plan_rendering(config)
    assert "no focus on 1 misread characters, because no line can contain them: '⅔' (41 times)" in caplog.text
    sources = SourceConfig(focus=write_report(tmp_path / "report.json", ENTRIES[1:2]))
    with pytest.raises(
        InputError, match=r"--focus must have confusions .*report.json has only confusions of '⅔'"
    ):
        plan_rendering(replace(config, sources=sources))


def test_a_missing_report_is_found_before_any_work(config, tmp_path) -> None:
    sources = SourceConfig(focus=str(tmp_path / "no.json"))
    with pytest.raises(InputError, match=r"--focus must name an existing file, got .*no.json"):
        render_lines(replace(config, sources=sources))
    assert not Path(config.out_uri).exists()


def test_the_location_of_the_report_is_recorded_in_full(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    config = RenderConfig(out_uri="x", sources=SourceConfig(focus="report.json"))
    assert describe_flags(config, resolve=resolve_flag)["focus"] == f"{tmp_path}/report.json"
