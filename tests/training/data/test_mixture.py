"""The mixture of a run, compared with values computed by hand."""

from pathlib import Path

import pytest
from builders.training_data import make_lines, make_texts, write_split
from hypothesis import given
from hypothesis import strategies as st

from ocr_ray.dataset.lines import PartSpec
from ocr_ray.dataset.parts import write_part
from ocr_ray.errors import InputError
from ocr_ray.storage.location import locate
from ocr_ray.training.data.mixture import CONTEXTUAL_SOURCES, count_sources, describe_mixture
from ocr_ray.training.data.row_groups import open_split

PRETRAINING, LABELLED = 6_000_000, 15_224
COUNTS = st.dictionaries(
    st.sampled_from(["words", "sentence", "arithmetic", "mixed", "page", "spliced", "unheard-of"]),
    st.integers(0, 10**7),
)


@pytest.mark.parametrize(("lines", "ratio"), [(1_804_567, 0.3), (3_007_612, 0.5)])
def test_the_number_of_lines_planned_for_a_ratio_has_that_ratio(lines: int, ratio: float) -> None:
    mixture = describe_mixture(
        {"lines": {"words": lines - 7, "mixed": 7}, "crops": {"page": LABELLED}},
        pretraining_lines=PRETRAINING,
    )
    assert mixture.ratio == pytest.approx(ratio, abs=1e-7)
    assert mixture.warning is None
    assert mixture.contextual_lines + mixture.pretraining_lines == 6_015_224
    assert mixture.trained_share == pytest.approx(lines / (lines + 15_224))
    assert f"{lines:,} context-free lines to 15,224 contextual ones and 6,000,000 of the" in mixture.text


def test_one_line_more_than_half_of_the_contextual_ones_warns() -> None:
    by_source = {"lines": {"words": 3_007_613}, "crops": {"page": LABELLED}}
    mixture = describe_mixture(by_source, pretraining_lines=PRETRAINING)
    assert mixture.warning is not None
    assert "at most 0.5 context-free lines per contextual line, the ratio is 0.500" in mixture.warning
    assert describe_mixture(by_source, pretraining_lines=PRETRAINING + 2).warning is None


def test_sources_are_context_free_but_for_pages_sentences_and_what_the_model_has_read() -> None:
    sources = ["words", "sentence", "arithmetic", "mixed", "page", "spliced", "unheard-of"]
    mixture = describe_mixture({"lines": {source: 10**i for i, source in enumerate(sources)}})
    assert (mixture.context_free_lines, mixture.contextual_lines) == (1_101_101, 10_010)
    assert mixture.ratio == 1_101_101 / 10_010


def test_weights_change_what_is_trained_on_but_not_the_ratio_in_the_datasets() -> None:
    by_source = {"lines": {"words": 600, "sentence": 200}, "crops": {"page": 75, "spliced": 25}}
    mixture = describe_mixture(by_source, {"crops": 1.5, "lines": 0.5})
    assert mixture.ratio == 625 / 275
    assert mixture.share_by_dataset == {"lines": 0.25, "crops": 0.75}
    # A quarter of the lines are three quarters words; three quarters are a quarter spliced.
    assert mixture.trained_share == pytest.approx(0.25 * 0.75 + 0.75 * 0.25)
    assert mixture.share_by_source == pytest.approx(
        {"page": 0.5625, "sentence": 0.0625, "spliced": 0.1875, "words": 0.1875}
    )
    assert "37.5 % are context-free; by dataset: lines 25.0 %, crops 75.0 %;" in mixture.text


def test_lines_without_any_context_have_no_ratio_and_warn() -> None:
    mixture = describe_mixture({"lines": {"words": 5}})
    assert (mixture.ratio, mixture.trained_share) == (None, 1.0)
    assert mixture.warning is not None
    assert "no line has context" in mixture.warning
    assert "no ratio" in mixture.text


@given(st.dictionaries(st.sampled_from("abc"), COUNTS, min_size=1))
def test_without_weights_each_line_counts_once(by_source: dict[str, dict[str, int]]) -> None:
    everything = [(source, n) for counts in by_source.values() for source, n in counts.items()]
    total = sum(n for _, n in everything)
    if not total:
        with pytest.raises(ValueError, match="not all 0"):
            describe_mixture(by_source)
        return
    mixture = describe_mixture(by_source)
    free = sum(n for source, n in everything if source not in CONTEXTUAL_SOURCES)
    assert mixture.context_free_lines == free
    assert mixture.contextual_lines == total - free
    assert mixture.trained_share == pytest.approx(free / total)
    assert sum(mixture.share_by_source.values()) == pytest.approx(1)
    assert sum(mixture.share_by_dataset.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"lines": 1.0}, "must be given for the datasets lines, empty, got those of lines$"),
        ({"lines": 1.0, "empty": -0.5}, "must be 0 or more"),
        ({"lines": float("nan"), "empty": 0.0}, "must be 0 or more"),
        ({"lines": 0.0, "empty": 0.0}, "not all 0"),
        ({"lines": 0.5, "empty": 0.5}, "without lines must have weight 0, got more for empty"),
    ],
)
def test_impossible_mixture_weights_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        describe_mixture({"lines": {"words": 3}, "empty": {}}, weights)
    assert describe_mixture({"lines": {"words": 3}, "empty": {}}, {"lines": 2.0, "empty": 0.0}).trained_share


def test_pretraining_lines_are_not_negative() -> None:
    with pytest.raises(ValueError, match="pretraining_lines must not be negative, got -1"):
        describe_mixture({"lines": {"words": 3}}, pretraining_lines=-1)


def test_sources_are_counted_from_the_footers(tmp_path: Path) -> None:
    place = locate(str(tmp_path))
    for index, sources in enumerate((["words", "page"] * 3, ["page"] * 4, [])):
        texts = make_texts(max(1, len(sources)), seed=index)
        lines = [make_lines([text], source=source)[0] for text, source in zip(texts, sources, strict=False)]
        spec = PartSpec(split="train", index=index, start=10 * index, stop=10 * index + len(sources))
        write_part(place, spec, "0" * 64, lines)
    assert count_sources(open_split("lines", place / "train")) == {"page": 7, "words": 3}
    assert count_sources(open_split("lines", place / "validation")) == {}


def test_a_part_without_statistics_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path, "train", make_lines(make_texts(3)))
    with pytest.raises(InputError, match=r"part-00000.parquet has none: make its dataset again"):
        count_sources(open_split("lines", locate(str(tmp_path / "train"))))
