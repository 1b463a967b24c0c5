import re
import shlex
from html import unescape

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from builders.stub_lines import make_line
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ocr_ray.dataset.card import dataset_card, escape_markdown
from ocr_ray.dataset.lines import Manifest, lines_to_table
from ocr_ray.dataset.text_statistics import TextStatistics

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
COUNTS = {"lines": 12_000, "by_split": {"train": 12_000, "validation": 0}, "by_source": {"mixed": 12_000}}


def count_texts(numbers: range) -> TextStatistics:
    texts = TextStatistics()
    for number in numbers:
        texts.add(make_line(number))
    return texts


def make_manifest(**values: object) -> Manifest:
    defaults = {
        "config": {"job": "render_lines", "seed": 7},
        "config_sha256": "abcdef" * 10,
        "created_at": "2030-01-01T00:00:00+00:00",
        "versions": {},
        "counts": {**COUNTS, "by_font": {"바탕": 8_000, "굴림_체": 4_000}},
        "balance": count_texts(range(300)).report(),
        "rejects": {"missing_glyph": 3},
        "parts": [],
    }
    return Manifest(**{**defaults, **values})


def read_tables(card: str) -> dict[tuple[str, ...], list[list[str]]]:
    """Return the rows of each table as a browser shows them, by its header."""
    html = MARKDOWN.render(card.split("---\n", 2)[2])
    tables = {}
    for table in re.findall(r"<table>(.*?)</table>", html, re.DOTALL):
        header = tuple(unescape(cell) for cell in re.findall(r"<th>(.*?)</th>", table))
        rows = re.findall(r"<tr>(.*?)</tr>", table.split("</thead>")[1], re.DOTALL)
        tables[header] = [[unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", row)] for row in rows]
    return tables


@given(st.text(st.sampled_from("가a1 \\`*_{}[]()<>|~$&#+-.!'\"=:;/") | st.characters(categories=["P", "S"])))
def test_any_text_is_shown_unchanged_in_a_cell(text: str) -> None:
    html = MARKDOWN.render(f"| a | b |\n|---|---|\n| 1 | {escape_markdown(text)} |\n")
    (cell,) = re.findall(r"<td>1</td>\n<td>(.*?)</td>", html, re.DOTALL)
    assert unescape(cell) == " ".join(text.split())


def test_a_card_holds_counts_fonts_coverage_lengths_and_grades() -> None:
    batang = {"name": "바탕", "family": "Baekmuk Batang", "version": "2.2", "licence": "Baekmuk"}
    gulim = {"name": "굴림_체", "family": "GulimChe", "version": "5.0", "licence": "proprietary"}
    instance = {"full_name": "GulimChe Bold", "axes": {"wght": 700.0, "wdth": 87.5}}
    fonts = [{**batang, "stands_in": True}, {**gulim, **instance, "stands_in": False}]
    unusual = {
        "old_hangul": {"number": 1200, "becomes": "left out"},
        "tab": {"number": 0, "becomes": "a space"},
    }
    card = dataset_card(
        make_manifest(
            config={"job": "render_lines", "seed": 7, "left_out": "|…뷁"},
            balance={**count_texts(range(300)).report(), "unusual_in_corpus": unusual},
            notes={"fonts": fonts, "left_out": {"cost": {"뷁": 1200, "|": 3}}},
        )
    )
    tables = read_tables(card)
    assert tables["font", "lines", "family", "version", "licence"] == [
        ["바탕", "8,000", "Baekmuk Batang (substitute)", "2.2", "Baekmuk"],
        ["굴림_체", "4,000", "GulimChe Bold (wght 700, wdth 87.5)", "5.0", "proprietary"],
    ]
    assert tables["in the corpus", "number", "becomes"] == [["old hangul", "1,200", "left out"]]
    assert tables["split", "lines"] == [["train", "12,000"], ["validation", "0"]]
    assert tables["reject", "boxes or lines"] == [["missing_glyph", "3"]]
    lengths = [len(make_line(number).text) for number in range(300)]
    assert tables["length", "lines"] == [
        [name, str(sum(length in bin_ for length in lengths))] for name, bin_ in (("6 to 10", range(6, 11)),)
    ]
    assert [name for name, _ in tables["grade", "expressions"]] == ["1", "2", "3", "4", "5", "6"]
    assert dict(map(tuple, tables["characters", "occurrences"]))["symbol"] == "300"  # one □ each
    assert "seed 7" in card
    report = count_texts(range(300)).report()
    assert f"{len(report['characters'])} different characters" in card
    assert f"{report['ks_x_1001']} of the 2,350 syllables" in card
    assert f"{len(report['rare'])} occur fewer than 20 times" in card
    assert f"and {len(report['rare']) - 100} more" in card
    assert r"뷁 (1,200), \| (3), …." in card


def test_a_card_lists_the_confusions_that_a_dataset_focuses_on() -> None:
    confusions = [{"truth": "×", "read": "+", "count": 1200}, {"truth": " ", "read": "", "count": 80}]
    confusions += [{"truth": "", "read": "|", "count": 7}] + [{"truth": "가", "read": "나", "count": 1}] * 30
    focus = {"lines_share": 0.5, "num_errors": 2000, "confusions": confusions, "ignored": {"⅔": 41}}
    card = dataset_card(make_manifest(notes={"focus": focus}))
    rows = read_tables(card)["in print", "read as", "times"]
    assert rows[:3] == [["×", "+", "1,200"], ["a space", "nothing", "80"], ["nothing", "|", "7"]]
    assert len(rows) == 30
    assert "50% of the lines" in card
    assert "33 confusions, 1,317 of its 2,000 wrong characters" in card
    assert "And 3 more." in card
    assert "not available for rendering: ⅔ (41)." in card
    assert "Focused" not in dataset_card(make_manifest())


def test_facts_that_crops_do_not_have_are_left_out() -> None:
    card = dataset_card(
        make_manifest(
            config={"job": "crop_pages"},
            counts={**COUNTS, "by_font": {}},
            rejects={},
            balance=TextStatistics().report(),
        )
    )
    assert list(read_tables(card)) == [("split", "lines"), ("source", "lines"), ("characters", "occurrences")]
    for word in ("seed", "font |", "grade", "Left out", "lines.png", "```", "None", "reject"):
        assert word not in card


def test_the_command_is_the_same_words_in_a_shell() -> None:
    flags = {
        "out-uri": "s3://bucket/my lines",
        "fonts": ("바탕", "맑은 고딕", "a'b"),
        "text.cut-share": 0.3,
        "corpus-uri": None,
        "shuffle": True,
        "warm": False,
    }
    card = dataset_card(make_manifest(flags=flags))
    (command,) = re.findall(r"```bash\n(.*?)\n```", card, re.DOTALL)
    words = ["ocr-ray", "render-lines", "--out-uri", "s3://bucket/my lines"]
    words += ["--fonts", "바탕", "맑은 고딕", "a'b", "--text.cut-share", "0.3", "--shuffle", "--no-warm"]
    assert shlex.split(command) == words


def test_the_lines_of_the_contact_sheet_are_listed_in_their_order() -> None:
    lines = [make_line(number) for number in range(24)]
    card = dataset_card(make_manifest(), lines)
    assert "![24 random lines](lines.png)" in card
    assert read_tables(card)["", "text", "source", "font"] == [
        [str(number), line.text, "mixed", line.font] for number, line in enumerate(lines, start=1)
    ]


@pytest.mark.parametrize("splits", [{"train": 5, "validation": 2}, {"train": 5, "validation": 0}])
def test_the_metadata_lists_the_splits_that_have_lines(splits: dict[str, int]) -> None:
    card = dataset_card(make_manifest(counts={**COUNTS, "by_font": {}, "by_split": splits}))
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert (metadata["language"], metadata["task_categories"]) == ("ko", ["image-to-text"])
    (config,) = metadata["configs"]
    files = config["data_files"]
    assert {file["split"]: file["path"] for file in files} == {
        split: f"{split}/*.parquet" for split, lines in splits.items() if lines
    }


@pytest.mark.parametrize(
    ("num_lines", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (3_000_000, "1M<n<10M"), (10**9, "n>1B")],
)
def test_the_metadata_has_the_size_category_of_the_hub(num_lines: int, category: str) -> None:
    card = dataset_card(make_manifest(counts={**COUNTS, "by_font": {}, "lines": num_lines}))
    assert DatasetCard(card).data.size_categories == category


def test_hugging_face_datasets_opens_the_folder_by_its_card(tmp_path) -> None:
    for split, numbers in {"train": range(5), "validation": range(7)}.items():
        (tmp_path / split).mkdir()
        table = lines_to_table([make_line(number) for number in numbers])
        pq.write_table(table, tmp_path / split / "part-00000.parquet")
    counts = {**COUNTS, "by_font": {}, "by_split": {"train": 5, "validation": 7, "test": 0}}
    (tmp_path / "README.md").write_text(dataset_card(make_manifest(counts=counts)), encoding="utf-8")
    opened = datasets.load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in opened.items()} == {"train": 5, "validation": 7}
    assert opened["train"][1]["image"].size == (8 * len(make_line(1).text), 16)
