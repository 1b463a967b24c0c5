from typing import Any

import pytest
from builders.readings import EXAMPLE_PROBLEM, make_reading, make_references, read_example, read_with
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.evaluation.analysis.seen_words import SeenWords
from ocr_ray.evaluation.analysis.slices import (
    CHARACTER_FAMILIES,
    LINE_FAMILIES,
    NO_VALUE,
    SliceInputs,
    SliceSums,
)
from ocr_ray.evaluation.analysis.whole_problems import ProblemText
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import count_all

TEXT = st.text(alphabet="가나다 7×=.A", max_size=45)
LINES = st.lists(
    st.builds(
        make_reading,
        reference=TEXT,
        prediction=TEXT,
        dataset=st.sampled_from(["lines", "crops"]),
        source=st.sampled_from(["words", "arithmetic", "page"]),
        font=st.sampled_from(["바탕", "굴림", None]),
        page_id=st.sampled_from(["page", None]),
        page_order=st.sampled_from([0, 1, None]),
        width_px=st.sampled_from([100, 700, None]),
        height_px=st.sampled_from([20, None]),
        markup=st.sampled_from(["$\\frac{1}{2}$", "1", None]),
    ),
    max_size=8,
)
INPUTS = SliceInputs(
    training_words={"가나", "7"},
    training_fonts={"바탕"},
    problems={"crops": {"page": ProblemText("가나 가나다 7×7", True)}},
)
CHARACTER_COUNTS = (
    "character_hits",
    "character_substitutions",
    "character_deletions",
    "character_insertions",
)


def describe(lines: list[Reading], inputs: SliceInputs = INPUTS) -> dict[str, Any]:
    sums = SliceSums(inputs)
    sums.add(lines)
    return sums.describe()


@settings(deadline=None)
@given(lines=LINES, cut=st.integers(0, 8))
def test_counts_are_the_same_for_any_parts(lines: list[Reading], cut: int) -> None:
    sums = SliceSums(INPUTS)
    sums.add(lines[cut:])
    sums.add(lines[:cut])
    assert sums.describe() == describe(lines)


@settings(deadline=None)
@given(lines=LINES)
def test_slices_and_unknown_lines_of_every_family_add_up_to_overall(lines: list[Reading]) -> None:
    report = describe(lines)
    overall = report["overall"]["counts"]
    for family in LINE_FAMILIES:
        total = sum(entry["lines"] for entry in report[family].values())
        assert total + report["unknown_lines"][family] == len(lines)
        if not report["unknown_lines"][family]:
            for name, number in overall.items():
                assert sum(entry["counts"][name] for entry in report[family].values()) == number
    for family in CHARACTER_FAMILIES:
        for name in CHARACTER_COUNTS:
            assert sum(entry["counts"][name] for entry in report[family].values()) == overall[name]
    whole = count_all([line.reference for line in lines], [line.prediction for line in lines])
    assert [overall[name] for name in CHARACTER_COUNTS] == [getattr(whole, name) for name in CHARACTER_COUNTS]


def test_no_lines_give_no_slices_and_null_rates() -> None:
    report = describe([])
    assert all(report[family] == {} for family in (*LINE_FAMILIES, *CHARACTER_FAMILIES))
    rates = {name: value for name, value in report["overall"].items() if name not in ("lines", "counts")}
    assert len(rates) == 7
    assert set(rates.values()) == {None}


def test_a_slice_without_reference_characters_has_no_error_rate() -> None:
    report = describe([make_reading("7 = 7", "7 =A 7")])
    latin = report["by_character_class"]["latin"]
    assert (latin["cer"], latin["counts"]["character_insertions"], latin["exact_match"]) == (None, 1, 0.0)
    assert report["by_character_class"]["digit"]["cer"] == 0.0


def slice_of(family: str, inputs: SliceInputs = INPUTS, **facts: Any) -> str | None:
    facts = {"reference": "가나", "prediction": "가나", **facts}
    report = describe([make_reading(**facts)], inputs)
    assert (report["unknown_lines"][family], len(report[family])) in ((0, 1), (1, 0))
    return next(iter(report[family]), None)


@pytest.mark.parametrize(
    ("family", "facts", "name"),
    [
        ("by_dataset", {"dataset": "lines"}, "lines"),
        ("by_source", {"source": "spliced"}, "spliced"),
        ("by_font", {"font": None}, NO_VALUE),
        ("by_length", {"reference": ""}, "0-5"),
        ("by_length", {"reference": "가" * 5}, "0-5"),
        ("by_length", {"reference": "가" * 6}, "6-10"),
        ("by_length", {"reference": "가" * 40}, "31-40"),
        ("by_length", {"reference": "가" * 41}, "41+"),
        ("by_aspect", {"width_px": 100, "height_px": 20}, "up to 5"),
        ("by_aspect", {"width_px": 101, "height_px": 20}, "5 to 10"),
        ("by_aspect", {"width_px": 601, "height_px": 20}, "over 30"),
        ("by_aspect", {"width_px": None, "height_px": 20}, None),
        ("by_box", {"page_order": 0}, "first"),
        ("by_box", {"page_order": 3}, "later"),
        ("by_box", {}, None),
        ("by_has_fraction", {"markup": "$2\\dfrac{1}{3}$"}, "yes"),
        ("by_has_fraction", {"markup": "$1/3$"}, "no"),
        ("by_has_fraction", {}, None),
        ("by_font_seen", {"font": "바탕"}, "seen"),
        ("by_font_seen", {"font": "궁서"}, "unseen"),
        ("by_font_seen", {"font": None}, None),
        ("by_starts_mid_word", {"source": "arithmetic"}, "no"),
        ("by_starts_mid_word", {"source": "words"}, None),
    ],
)
def test_each_line_is_in_the_right_slice(family: str, facts: dict[str, Any], name: str | None) -> None:
    assert slice_of(family, **facts) == name


@pytest.mark.parametrize(
    ("text", "starts", "ends"),
    [
        ("가나", "no", None),  # a word, and the start of 가나다
        ("가나 가나", "no", "yes"),
        ("나 가나다", "yes", "no"),
        ("나 가", "yes", "yes"),
        ("가나 가나다 7×7", "no", "no"),
        ("7", None, None),  # `7×` starts a word, `×7` does not
        ("×7", "yes", "no"),
        ("라", None, None),
        ("", None, None),
    ],
)
def test_a_line_is_cut_inside_a_word_if_every_position_in_the_problem_says_so(
    text: str, starts: str | None, ends: str | None
) -> None:
    facts = {"reference": text, "page_id": "page"}
    assert slice_of("by_starts_mid_word", **facts) == starts
    assert slice_of("by_ends_mid_word", **facts) == ends


def test_a_problem_text_joined_from_boxes_does_not_show_where_words_end() -> None:
    problems = {"page": ProblemText("가나 다라", False), "blank": ProblemText(None, True)}
    inputs = SliceInputs(problems={"crops": problems})
    for page in ("page", "blank", "other"):
        assert slice_of("by_ends_mid_word", inputs, reference="가나", page_id=page) is None


def test_one_box_of_the_example_is_cut_inside_a_word() -> None:
    inputs = SliceInputs(problems={"crops": {"page": ProblemText(EXAMPLE_PROBLEM, True)}})
    report = describe(read_example(), inputs)
    assert {name: entry["lines"] for name, entry in report["by_ends_mid_word"].items()} == {"no": 2, "yes": 1}
    assert report["by_starts_mid_word"]["yes"]["counts"]["character_hits"] == 20  # the third box
    assert {name: entry["lines"] for name, entry in report["by_box"].items()} == {"first": 1, "later": 2}
    # 4 errors in the first box, all but one in the last third; 7 in the third, all in the middle.
    assert report["by_box"]["first"]["cer"] == pytest.approx(4 / 36)
    assert report["overall"]["counts"]["character_insertions"] == 4 + 2


def test_a_model_that_reads_heads_and_invents_tails_fails_in_last_thirds() -> None:
    references = make_references(40, ["사과", "직각", "나머지", "둘레", "길이"])

    def invent_tail(reference: str) -> str:
        return reference[: -(-len(reference) // 3)] + "은 모두 몇 명입니까?"

    thirds = describe(read_with(invent_tail, references))["by_third"]
    assert list(thirds) == ["first", "middle", "last"]
    assert thirds["first"]["cer"] < 0.1
    assert thirds["last"]["cer"] > 0.7
    perfect = describe(read_with(str, references))["by_third"]
    assert {name: entry["cer"] for name, entry in perfect.items()} == dict.fromkeys(thirds, 0.0)
    assert perfect["last"]["wer"] is None  # words are not counted in thirds


def test_seen_words_unseen_words_and_spaces_are_counted_separately() -> None:
    inputs = SliceInputs(training_words=SeenWords(["사과는 둘레,", "(길이)"]))
    report = describe([make_reading("사과는 '둘레' 넓이.", "사과는 '둘레'  넙이.")], inputs)["by_word_seen"]
    assert (report["seen"]["cer"], report["seen"]["wer"]) == (0.0, 0.0)
    assert (report["unseen"]["cer"], report["unseen"]["wer"]) == (pytest.approx(1 / 3), 1.0)
    assert report["between words"]["counts"]["character_insertions"] == 1
    assert report["seen"]["counts"]["word_hits"] == 2


def test_without_training_words_no_word_is_seen_or_unseen() -> None:
    report = describe([make_reading("가", "가")], SliceInputs())
    assert report["by_word_seen"] == {}
    assert report["unknown_lines"]["by_word_seen"] == report["unknown_lines"]["by_font_seen"] == 1


def test_seen_words_hold_exactly_the_words_of_the_texts_for_any_chunk_size() -> None:
    texts = [f"낱말{number}, 둘" for number in range(50)]
    for chunk_words in (1, 7, 1000):
        seen = SeenWords(texts, chunk_words=chunk_words)
        assert len(seen) == 51
        assert all(word in seen for word in ("낱말0", "낱말49", "둘", "(둘)"))
        assert not any(word in seen for word in ("낱말50", "낱말", "", "셋"))
    assert "둘" not in SeenWords([])
