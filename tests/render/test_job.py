"""Rendered datasets in one Ray session: contents, growth, rejected flags, left-out and held-out inputs."""

import io
from collections import Counter
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import ray.data
from fontTools.subset import Subsetter
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image

from ocr_ray.cli.flags import describe_flags
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import REJECT_SCHEMA, SCHEMA, table_to_lines
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.job import compute_split_sizes, plan_rendering, render_lines, resolve_flag
from ocr_ray.render.style import StyleConfig
from ocr_ray.storage.location import list_files, locate, read_bytes, read_json, write_bytes
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig
from ocr_ray.textgen.holdout import find_tokens
from ocr_ray.textgen.sampler import REQUIRED_CHARACTERS, TextConfig, TextSampler

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]


@pytest.fixture(scope="module")
def config(fonts, tmp_path_factory) -> RenderConfig:
    return RenderConfig(
        out_uri=str(tmp_path_factory.mktemp("lines") / "lines"),
        num_lines=60,
        seed=7,
        validation_share=0.1,
        lines_per_part=16,
        fonts=tuple(font.name for font in fonts),
    )


@pytest.fixture(scope="module")
def summary(config) -> dict:
    return render_lines(config)


def read_lines(out_uri: str, split: str):
    out = locate(out_uri)
    paths = [path for path in list_files(out) if path.startswith(f"{split}/")]
    return [line for path in paths for line in table_to_lines(pq.read_table((out / path).path))]


def test_a_dataset_has_every_number_once_and_equal_shares_of_fonts(config, summary) -> None:
    train, validation = (read_lines(config.out_uri, split) for split in ("train", "validation"))
    assert [line.line_id for line in train] == [f"{n:09d}" for n in range(54)]
    assert [line.line_id for line in validation] == [str(700_000_000 + n) for n in range(6)]
    assert len(set(summary["by_font"].values())) == 1
    assert summary["by_split"] == {"train": 54, "validation": 6}
    pixels = np.asarray(Image.open(io.BytesIO(train[0].image_bytes)))
    assert pixels.shape == (384, 384)


def test_other_programs_read_the_dataset(config, summary) -> None:
    folder = f"{config.out_uri}/train"
    assert ray.data.read_parquet(folder).count() == 54
    query = f"select count(*), min(length(text)), max(length(text)) from '{folder}/*.parquet'"
    ((count, shortest, longest),) = duckdb.sql(query).fetchall()
    assert (count, shortest >= 5, longest <= 30) == (54, True, True)
    schema = pq.read_schema(f"{folder}/part-00000.parquet")
    assert schema.equals(SCHEMA)
    assert {b"huggingface", b"config_sha256", b"rows_sha256", b"num_rejects"} <= schema.metadata.keys()
    rejects = pq.read_table(f"{config.out_uri}/rejects/train-part-00000.parquet")
    assert (rejects.schema.names, rejects.num_rows) == (REJECT_SCHEMA.names, 0)


def test_a_second_run_renders_nothing(config, summary) -> None:
    before = read_bytes(locate(config.out_uri) / "manifest.json")
    again = render_lines(config)
    assert (again["parts_made"], again["digest_by_split"]) == (0, summary["digest_by_split"])
    assert read_bytes(locate(config.out_uri) / "manifest.json") == before


def test_the_lines_do_not_depend_on_part_size_or_growth(config, summary, tmp_path) -> None:
    other = replace(config, out_uri=str(tmp_path / "x"), num_lines=20, lines_per_part=7, num_cpus=1)
    render_lines(other)
    grown = render_lines(replace(other, num_lines=60))
    assert grown["digest_by_split"] == summary["digest_by_split"]
    manifest = read_json(locate(other.out_uri) / "manifest.json")
    assert manifest["counts"]["lines"] == sum(part["rows"] for part in manifest["parts"]) == 60
    with pytest.raises(InputError, match=r"num_lines .* can only grow: it is 60, got 59"):
        render_lines(replace(other, num_lines=59))


def test_a_missing_or_damaged_part_is_rendered_again(config, summary, tmp_path) -> None:
    other = replace(config, out_uri=str(tmp_path / "x"))
    out = locate(other.out_uri)
    render_lines(other)
    whole = {name: read_bytes(out / name) for name in list_files(out) if name.endswith(".parquet")}
    (tmp_path / "x/train/part-00001.parquet").unlink()
    write_bytes(out / "train/part-00002.parquet", whole["train/part-00002.parquet"][:-9])
    assert render_lines(other)["parts_made"] == 2
    damaged = bytearray(whole["train/part-00000.parquet"])
    damaged[5_000] ^= 1  # a byte of an image; the footer is still readable
    write_bytes(out / "train/part-00000.parquet", bytes(damaged))
    assert render_lines(other)["parts_made"] == 0
    (tmp_path / "x/rejects/train-part-00003.parquet").unlink()
    assert render_lines(replace(other, verify="rows"))["parts_made"] == 2
    assert {name: read_bytes(out / name) for name in whole} == whole


def test_a_changed_configuration_is_rejected_with_the_changed_fields(config, summary) -> None:
    with pytest.raises(InputError, match=r"seed: 7 there, 8 now.*choose another --out-uri"):
        render_lines(replace(config, seed=8))
    with pytest.raises(InputError, match=r"text.max_length: 30 there, 29 now"):
        render_lines(replace(config, text=replace(config.text, max_length=29)))
    if len(config.fonts) > 1:  # which line has which font depends on their order
        with pytest.raises(InputError, match=r"fonts\..*\.order: 0 there, "):
            render_lines(replace(config, fonts=config.fonts[::-1]))


def test_files_that_are_not_in_the_plan_are_kept_and_reported(config, summary, tmp_path) -> None:
    other_file = locate(config.out_uri) / "train/notes.txt"
    write_bytes(other_file, b"mine")
    assert render_lines(config)["unlisted_files"] == 1
    assert read_bytes(other_file) == b"mine"
    other_file.filesystem.delete_file(other_file.path)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"must be empty .* holds thesis.txt and no plan.json"):
        render_lines(replace(config, out_uri=str(tmp_path)))
    with pytest.raises(InputError, match=r"--out-uri must be a folder, .*thesis.txt is a file"):
        render_lines(replace(config, out_uri=str(tmp_path / "thesis.txt")))
    with pytest.raises(InputError, match=r"must be in an existing bucket, s3://no-such"):
        render_lines(replace(config, out_uri="s3://no-such/lines"))


def test_held_out_fonts_words_and_numbers_occur_only_in_test(fonts, tmp_path) -> None:
    *shown, hidden = [font.name for font in fonts]
    if not shown:
        pytest.fail("two fonts are needed")
    config = RenderConfig(
        out_uri=str(tmp_path / "x"),
        num_lines=200,
        fonts=tuple(shown),
        holdout_fonts=(hidden,),
        test_share=0.2,
        validation_share=0.1,
        text=TextConfig(holdout_word_share=0.2),
        lines_per_part=64,
    )
    summary = render_lines(config)
    assert summary["by_split"] == {"train": 140, "validation": 20, "test": 40}
    lines = {split: read_lines(config.out_uri, split) for split in ("train", "validation", "test")}
    assert {line.font for line in lines["test"]} == {hidden}
    assert {line.font for line in lines["train"] + lines["validation"]} == set(shown)
    words = {
        split: {word for line in rows for word in find_tokens(line.text)} for split, rows in lines.items()
    }
    assert len(words["test"]) > 40
    assert not words["test"] & (words["train"] | words["validation"])
    assert [line.line_id for line in lines["test"]] == [str(800_000_000 + n) for n in range(40)]


def test_lines_of_running_text_come_from_the_corpus_and_the_labelled_lines(config, summary, tmp_path) -> None:
    (tmp_path / "works").mkdir()
    (tmp_path / "works/a.txt").write_text(
        "새침하게 흐린 품이 눈이 올 듯하더니 눈은 아니 오고 얼다가 만 비가 추적추적 내렸다."
    )
    sources = SourceConfig(corpus_uri=str(tmp_path / "works"), texts_uri=config.out_uri)
    text = TextConfig(sentence_share=1.0, arithmetic_share=0.0, mixed_share=0.0, min_length=5, max_length=12)
    other = replace(config, out_uri=str(tmp_path / "x"), sources=sources, text=text, num_lines=80)
    assert render_lines(other)["by_source"] == {"sentence": 80}
    labelled = [line.text for line in read_lines(config.out_uri, "train")]
    passages = [*labelled, (tmp_path / "works/a.txt").read_text()]
    texts = [line.text for line in read_lines(other.out_uri, "train")]
    assert all(any(text in passage for passage in passages) for text in texts)
    assert any(text in passages[-1] for text in texts)
    assert any(text in passage for text in texts for passage in labelled)


def test_lengths_follow_those_of_other_lines(config, summary, tmp_path) -> None:
    sources = SourceConfig(lengths_like=config.out_uri)
    text = replace(config.text, arithmetic_share=0.0, mixed_share=0.0)
    _, inputs = plan_rendering(replace(config, out_uri=str(tmp_path), sources=sources, text=text))
    lengths = Counter(len(line.text) for line in read_lines(config.out_uri, "train"))
    assert dict(inputs.text_inputs.length_weights) == lengths
    sampler = TextSampler(inputs.text_inputs, inputs.text)
    assert {len(sampler.draw(7, number).text) for number in range(300)} <= set(lengths)


def test_characters_that_a_font_lacks_are_left_out_and_counted(fonts, tmp_path) -> None:
    """The font has little more than the required characters: no circled numbers, few syllables."""
    kept = "가나다라마바사아자차카타파하" + "".join(sorted(REQUIRED_CHARACTERS))
    subset = Subsetter()
    small = TTFont(io.BytesIO(fonts[0].content), fontNumber=fonts[0].face)
    subset.populate(text=kept)
    subset.subset(small)
    small.save(tmp_path / "small.ttf")
    (tmp_path / "words").mkdir()
    (tmp_path / "words/a.txt").write_text("가나다 라마 바사아 자차 카타 파하 학교 나무 타자 사자")
    config = RenderConfig(
        out_uri=str(tmp_path / "x"),
        num_lines=40,
        fonts=(fonts[-1].name, f"작은={tmp_path / 'small.ttf'}"),
        sources=SourceConfig(corpus_uri=str(tmp_path / "words")),
    )
    render_lines(config)
    texts = "".join(line.text for line in read_lines(config.out_uri, "train"))
    assert set(texts) <= set(kept)
    manifest = read_json(locate(config.out_uri) / "manifest.json")
    assert {"학", "①"} <= set(manifest["config"]["left_out"])
    left_out = manifest["notes"]["left_out"]
    assert left_out["lacking_by_font"].keys() == {"작은"}
    # One distinct word and one occurrence in the running text each.
    assert left_out["cost"] == {"교": 2, "무": 2, "학": 2}
    assert "학" in (tmp_path / "x/README.md").read_text()


def test_native_images_are_lossless_and_have_the_size_of_the_line(config, tmp_path) -> None:
    other = replace(config, out_uri=str(tmp_path / "x"), num_lines=12, image=ImageConfig(size="native"))
    render_lines(other)
    for line in read_lines(other.out_uri, "train"):
        image = Image.open(io.BytesIO(line.image_bytes))
        assert (image.format, image.size) == ("PNG", (line.width_px, line.height_px))


def test_trdg_draws_the_same_texts_in_the_same_fonts(config, summary, tmp_path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (500, 200), 180).save(tmp_path / "images/a.png")
    sources = SourceConfig(pictures_uri=str(tmp_path / "images"))
    other = replace(config, out_uri=str(tmp_path / "x"), num_lines=60, renderer="trdg", sources=sources)
    render_lines(other)
    lines, trdg_lines = read_lines(config.out_uri, "train"), read_lines(other.out_uri, "train")
    by_id = {line.line_id: line for line in trdg_lines}
    assert all(
        (by_id[line.line_id].text, by_id[line.line_id].font) == (line.text, line.font) for line in lines
    )
    corner = np.asarray(Image.open(io.BytesIO(trdg_lines[0].image_bytes)))[:3, :3]
    assert abs(corner.mean() - 180) < 5


def test_the_manifest_describes_what_the_lines_are_made_of(config, summary, fonts) -> None:
    manifest = read_json(locate(config.out_uri) / "manifest.json")
    described = {font["name"]: font for font in manifest["notes"]["fonts"]}
    assert {name: font["sha256"] for name, font in described.items()} == {f.name: f.sha256 for f in fonts}
    assert manifest["notes"]["canonical"]["㎠"] == "cm²"
    texts = [line.text for split in ("train", "validation") for line in read_lines(config.out_uri, split)]
    assert manifest["balance"]["characters"] == Counter("".join(texts))
    assert manifest["balance"]["lengths"] == {str(n): k for n, k in Counter(map(len, texts)).items()}
    card = read_bytes(locate(config.out_uri) / "README.md").decode()
    assert "ocr-ray render-lines" in card
    assert "lines.png" in card


def test_recorded_flags_are_those_that_differ_from_their_defaults(tmp_path) -> None:
    config = RenderConfig(
        out_uri=str(tmp_path),
        num_lines=7,
        style="plain",
        look=StyleConfig(ink=(0, 10)),
        sources=SourceConfig(corpus_uri=str(tmp_path)),
        text=TextConfig(cut_share=0.5, arithmetic=ArithmeticConfig(grades=(1, 2))),
        image=ImageConfig(size="native"),
    )
    assert describe_flags(config, resolve=resolve_flag) == {
        "out-uri": str(tmp_path),
        "num-lines": 7,
        "corpus-uri": str(tmp_path),
        "cut-share": 0.5,
        "arithmetic.grades": (1, 2),
        "style": "plain",
        "style.ink": (0, 10),
        "image.size": "native",
        "image.format": "png",
    }


def test_every_line_belongs_to_one_split() -> None:
    config = RenderConfig(out_uri="", num_lines=3_007_612, holdout_fonts=("궁서",))
    assert compute_split_sizes(config) == {"train": 2_947_460, "validation": 30_076, "test": 30_076}
    assert compute_split_sizes(replace(config, holdout_fonts=())) == {
        "train": 2_977_536,
        "validation": 30_076,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": SourceConfig(texts_uri="/no/such")}, "--texts-uri must name an existing folder"),
        ({"sources": SourceConfig(lengths_like="/no/such")}, "--lengths-like must name an existing folder"),
        ({"sources": SourceConfig(model="/no/such")}, "a model must be an existing folder"),
        ({"fonts_uri": "/no/such"}, "--fonts-uri must name an existing folder"),
        ({"text": TextConfig(sentence_share=0.5)}, "--sentence-share"),
        ({"holdout_fonts": ("없는 글꼴",)}, "'없는 글꼴' must be installed"),
    ],
)
def test_a_wrong_input_is_found_before_any_work(options: dict, message: str, fonts, tmp_path) -> None:
    with pytest.raises(InputError, match=message):
        render_lines(RenderConfig(out_uri=str(tmp_path / "x"), **{"fonts": (fonts[0].name,)} | options))
    assert not (tmp_path / "x").exists()


def test_locations_of_fonts_are_recorded_in_full(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ttc").touch()
    fonts = ("바탕", "a.ttc#2", "명조=fonts/b.ttf", "fonts/", "s3://bucket/c.ttf")
    assert describe_flags(RenderConfig(out_uri="x", fonts=fonts), resolve=resolve_flag) == {
        "out-uri": f"{tmp_path}/x",
        "fonts": (
            "바탕",
            f"{tmp_path}/a.ttc#2",
            f"명조={tmp_path}/fonts/b.ttf",
            f"{tmp_path}/fonts/",
            fonts[-1],
        ),
    }


def test_one_face_of_a_collection_can_be_held_out(fonts, tmp_path) -> None:
    collection = TTCollection()
    collection.fonts = [
        TTFont(io.BytesIO(font.content), fontNumber=font.face) for font in (fonts[0], fonts[-1])
    ]
    collection.save(tmp_path / "both.ttc")
    faces = [f"{name}={tmp_path}/both.ttc#{face}" for face, name in enumerate("가나")]
    config = RenderConfig(out_uri=str(tmp_path / "x"), fonts=(faces[0],), holdout_fonts=(faces[1],))
    _, inputs = plan_rendering(config)
    assert [(font.name, font.face) for font in inputs.fonts] == [("가", 0)]
    assert [(font.name, font.face) for font in inputs.holdout_fonts] == [("나", 1)]
