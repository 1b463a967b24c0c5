from math import sqrt

import pytest
from builders.readings import make_reading, make_references, read_example, read_with
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.dataset.lines import WordOrigin
from ocr_ray.evaluation.analysis.context_dependence import (
    ContextCounts,
    ContextDependence,
    count_words,
    divide_rates,
)
from ocr_ray.evaluation.readings import Reading
from ocr_ray.metrics import count_errors

LINE = st.lists(st.text(alphabet="가나7", min_size=1, max_size=3), min_size=1, max_size=4).map(" ".join)


def count(lines: list[Reading], words_of: dict[str, list[tuple[str, int]]] | None = None) -> ContextCounts:
    origins = {
        ("crops", line_id): [WordOrigin(*word) for word in words]
        for line_id, words in (words_of or {}).items()
    }
    dependence = ContextDependence(origins)
    dependence.add(lines[:1])
    dependence.add(lines[1:])
    return dependence.counts()


def test_the_example_of_the_docstring() -> None:
    report = ContextCounts(
        first_errors=2,
        first_characters=100,
        last_errors=18,
        last_characters=90,
        spliced_errors=12,
        spliced_characters=80,
        own_errors=3,
        own_characters=80,
        words_unmatched=0,
    ).describe()
    assert report["last_over_first"] == pytest.approx(10)
    assert report["spliced_over_own"] == pytest.approx(4)
    assert report["context_dependence"] == pytest.approx(sqrt(40))
    assert not report["last_over_first_at_least"]


@pytest.mark.parametrize(
    ("worse", "better", "ratio"),
    [
        ((2, 10), (1, 10), 2.0),
        ((5, 10), (0, 10), 5.0),  # the divisor counts as one error
        ((0, 10), (5, 10), 0.0),
        ((0, 10), (0, 10), None),
        ((1, 0), (1, 10), None),
        ((1, 10), (1, 0), None),
    ],
)
def test_a_ratio_of_rates_needs_characters_on_both_sides_and_an_error(
    worse: tuple[int, int], better: tuple[int, int], ratio: float | None
) -> None:
    assert divide_rates(worse, better) == ratio


def test_a_model_that_reads_heads_and_invents_tails_has_a_high_ratio() -> None:
    references = make_references(40, ["사과", "직각", "나머지", "둘레", "길이"])
    report = count(read_with(lambda text: text[: 2 * len(text) // 3] + "구하시오", references)).describe()
    assert report["last_over_first"] > 10
    assert report["last_over_first_at_least"]  # no errors in heads
    anywhere = count(read_with(lambda text: text[1:-1], references)).describe()
    assert 0.5 < anywhere["last_over_first"] < 1.5
    assert count(read_with(str, references)).describe()["last_over_first"] is None


def test_thirds_of_the_example_counted_by_hand() -> None:
    counts = count(read_example())
    # Last thirds: three trailing characters, 9 errors in the second box, none in the third.
    assert (counts.last_errors, counts.last_characters) == (3 + 9 + 0, 12 + 13 + 9)
    assert (counts.first_errors, counts.first_characters) == (1 + 9 + 0, 12 + 13 + 9)


def test_spliced_words_are_compared_with_the_same_words_in_their_original_lines() -> None:
    lines = [
        make_reading("사과 둘레", "사과 둘래", line_id="p#0"),
        make_reading("길이를 구해", "길이를 구해", line_id="q#1"),
        make_reading("둘레 길이를", "둘레 갈아를", line_id="s#1", source="spliced"),
        make_reading("구해 둘레", "구헤 둘래", line_id="s#2", source="spliced"),
    ]
    words_of = {"s#1": [("p#0", 1), ("q#1", 0)], "s#2": [("q#1", 1), ("p#0", 1)]}
    for order in (lines, lines[::-1]):
        counts = count(order, words_of)
        assert (counts.spliced_errors, counts.spliced_characters) == (0 + 2 + 1 + 1, 2 + 3 + 2 + 2)
        assert (counts.own_errors, counts.own_characters) == (1 + 0 + 0 + 1, 9)  # 둘레 twice
        assert counts.words_unmatched == 0
    assert count(lines, words_of).describe()["spliced_over_own"] == 2.0


def test_a_spliced_word_without_its_original_line_counts_on_neither_side() -> None:
    lines = [make_reading("둘레 사과", "둘래 사과", line_id="s", source="spliced")]
    counts = count(lines, {"s": [("p", 0), ("q", 0)]})
    assert (counts.words_unmatched, counts.spliced_characters, counts.own_characters) == (2, 0, 0)
    report = counts.describe()
    assert (report["spliced_over_own"], report["context_dependence"]) == (None, None)


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_errors_of_words_are_those_of_the_line_except_for_spaces(reference: str, prediction: str) -> None:
    words = count_words(make_reading(reference, prediction))
    assert [characters for _, characters in words] == [len(word) for word in reference.split()]
    whole = count_errors(reference, prediction)
    errors = whole.character_substitutions + whole.character_deletions + whole.character_insertions
    assert sum(errors for errors, _ in words) <= errors
    assert (errors == 0) <= (sum(errors for errors, _ in words) == 0)


def test_an_empty_reference_has_no_thirds() -> None:
    assert count([make_reading("", "가")]).first_errors == 0
    assert count([]) == ContextCounts.zero()
