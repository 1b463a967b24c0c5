import itertools
import math
import unicodedata

import jiwer
import numpy as np
import pytest
from builders.readings import EXAMPLE_PAIRS
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.metrics import (
    COLUMNS,
    NUM_ERROR_COLUMNS,
    ErrorCounts,
    LineCounts,
    count_all,
    count_errors,
    count_lines,
    divide,
    evaluate_pairs,
)
from ocr_ray.text.canonical import canonical
from ocr_ray.text.hangul import KS_X_1001

LINE = st.text(
    alphabet=st.sampled_from("가나다각한글 0123456789+-×÷=□()㎝cm\u2212▢\u3000,.$\\ \u1100\u1161\u11a8"),
    max_size=30,
)
PAIRS = st.lists(st.tuples(LINE, LINE), max_size=12)


def count_pairs(pairs: list[tuple[str, str]]) -> ErrorCounts:
    return count_all([reference for reference, _ in pairs], [prediction for _, prediction in pairs])


def characters(counts: ErrorCounts) -> tuple[int, int, int, int]:
    return (
        counts.character_hits,
        counts.character_substitutions,
        counts.character_deletions,
        counts.character_insertions,
    )


def words(counts: ErrorCounts) -> tuple[int, int, int, int]:
    return counts.word_hits, counts.word_substitutions, counts.word_deletions, counts.word_insertions


@pytest.mark.parametrize(
    ("reference", "prediction", "character_counts", "word_counts"),
    [
        # hits, substitutions, deletions, insertions; worked by hand
        ("탁자 7개", "탁자 7개", (5, 0, 0, 0), (2, 0, 0, 0)),
        ("탁자 7개", "탁자7개", (4, 0, 1, 0), (0, 1, 1, 0)),
        ("탁자 7개", "탁자 1개", (4, 1, 0, 0), (1, 1, 0, 0)),
        ("3 × 8 = 24", "3 + 8 = 24", (9, 1, 0, 0), (4, 1, 0, 0)),
        ("12 ÷ □ = 3", "12 ÷ = 3", (8, 0, 2, 0), (4, 0, 1, 0)),
        ("가나다", "나다", (2, 0, 1, 0), (0, 1, 0, 0)),
        ("나다", "가나다라", (2, 0, 0, 2), (0, 1, 0, 0)),
        ("각", "가", (0, 1, 0, 0), (0, 1, 0, 0)),  # a syllable is one character
        ("가나", "", (0, 0, 2, 0), (0, 0, 1, 0)),
        ("", "가 나", (0, 0, 0, 3), (0, 0, 0, 2)),
        ("", "", (0, 0, 0, 0), (0, 0, 0, 0)),
        ("A4 용지", "a4 용지", (4, 1, 0, 0), (1, 1, 0, 0)),  # case counts
        ("$7$개", "7개", (2, 0, 2, 0), (0, 1, 0, 0)),  # signs count
    ],
)
def test_counts_of_a_pair_are_those_worked_out_by_hand(
    reference: str,
    prediction: str,
    character_counts: tuple[int, int, int, int],
    word_counts: tuple[int, int, int, int],
) -> None:
    counts = count_errors(reference, prediction)
    assert (characters(counts), words(counts)) == (character_counts, word_counts)
    assert (counts.lines, counts.exact) == (1, int(reference == prediction))


def test_the_first_example_has_one_space_and_one_word_too_many() -> None:
    counts = count_errors(*EXAMPLE_PAIRS[0])
    assert characters(counts) == (36, 0, 0, 4)  # a space before 개에, and " 개에" at the end
    assert words(counts) == (8, 1, 0, 2)  # $7$개에 became two words, 개에 was added
    assert counts.cer == pytest.approx(4 / 36)
    assert counts.character_accuracy == 1.0


def test_the_hallucinated_examples_are_mostly_wrong_and_the_other_is_not() -> None:
    first, second, third = (count_errors(*pair) for pair in EXAMPLE_PAIRS)
    assert first.cer < 0.12
    assert second.cer > 0.6
    assert words(second) == (1, 6, 4, 0)  # only $6$ was read
    assert words(third) == (3, 2, 2, 0)  # 나타내고, and $4$를 for 나타내고 and one of 전체 학생 수를
    assert characters(third)[0] == len("눗셈식으로 나타내고 를 구해 보세요.")
    assert count_pairs(EXAMPLE_PAIRS) == first + second + third
    assert count_pairs(EXAMPLE_PAIRS).exact == 0


@settings(deadline=None)
@given(pairs=PAIRS, cuts=st.lists(st.integers(0, 12), max_size=4))
def test_counts_of_any_parts_add_up_to_those_of_jiwer_on_all_lines(
    pairs: list[tuple[str, str]], cuts: list[int]
) -> None:
    edges = [0, *sorted(cuts), len(pairs)]
    parts = [count_pairs(pairs[start:stop]) for start, stop in itertools.pairwise(edges)]
    whole = sum(parts, ErrorCounts.zero())
    assert whole == count_pairs(pairs)
    assert whole.lines == len(pairs)
    references = [canonical(reference) for reference, _ in pairs]
    predictions = [canonical(prediction) for _, prediction in pairs]
    if pairs:
        assert whole.cer == pytest.approx(jiwer.cer(references, predictions))
        assert whole.wer == pytest.approx(jiwer.wer(references, predictions))


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_the_error_rate_is_zero_if_and_only_if_the_lines_print_alike(reference: str, prediction: str) -> None:
    same = canonical(reference).strip() == canonical(prediction).strip()
    counts = count_errors(reference, prediction)
    assert (counts.cer == 0.0) == same == bool(counts.exact)
    assert count_errors(reference, reference).exact_match == 1.0


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_swapping_reference_and_prediction_swaps_insertions_and_deletions(
    reference: str, prediction: str
) -> None:
    forward, backward = count_errors(reference, prediction), count_errors(prediction, reference)
    errors = forward.character_substitutions + forward.character_deletions + forward.character_insertions
    assert (
        errors
        == backward.character_substitutions + backward.character_deletions + backward.character_insertions
    )
    assert forward.reference_characters == len(canonical(reference).strip())
    assert forward.reference_characters - backward.reference_characters == (
        forward.character_deletions - forward.character_insertions
    )


@settings(deadline=None)
@given(pairs=PAIRS)
def test_rates_are_finite_and_shares_lie_between_0_and_1(pairs: list[tuple[str, str]]) -> None:
    counts = count_pairs(pairs)
    assert all(math.isfinite(rate) and rate >= 0 for rate in (counts.cer, counts.wer))
    assert all(0 <= share <= 1 for share in (counts.character_accuracy, counts.exact_match))


@settings(deadline=None)
@given(pairs=PAIRS)
def test_counts_survive_the_conversion_to_a_list(pairs: list[tuple[str, str]]) -> None:
    counts = count_pairs(pairs)
    assert ErrorCounts.from_list(counts.to_list()) == counts
    assert ErrorCounts.from_list([2 * value for value in counts.to_list()]) == counts + counts
    assert counts + ErrorCounts.zero() == counts


def test_jamo_and_syllables_of_the_same_text_are_equal() -> None:
    composed = "탁자 7개"
    decomposed = unicodedata.normalize("NFD", composed)
    assert len(decomposed) > len(composed)
    assert count_errors(composed, decomposed) == count_errors(composed, composed)
    assert count_errors(decomposed, composed) == count_errors(composed, composed)


def test_characters_that_print_alike_are_no_errors() -> None:
    written, printed = "12㎠ \u2212 3㎡\u3000=\u00a0▢", "12cm² - 3m² = □"
    assert count_errors(written, printed) == count_errors(printed, written) == count_errors(printed, printed)
    assert count_errors(written, printed).reference_characters == len(printed)
    assert characters(count_errors("3㎠", "3cm")) == (3, 0, 1, 0)
    assert characters(count_errors("1…2", "1‥2")) == (2, 1, 0, 0)


def test_spaces_at_the_ends_are_ignored_but_a_doubled_space_is_counted() -> None:
    assert count_errors("탁자 7개", "  탁자 7개 ").exact == 1
    doubled = count_errors("탁자 7개", "탁자  7개")
    assert characters(doubled) == (5, 0, 0, 1)
    assert words(doubled) == (2, 0, 0, 0)


def test_without_reference_characters_the_error_rate_is_the_number_of_insertions() -> None:
    invented = count_errors("", "가나다")
    assert (invented.cer, invented.wer) == (3.0, 1.0) == (jiwer.cer("", "가나다"), jiwer.wer("", "가나다"))
    assert (invented.character_accuracy, invented.exact_match) == (0.0, 0.0)
    nothing = count_errors("", " ")
    assert (nothing.cer, nothing.wer, nothing.character_accuracy, nothing.exact_match) == (0.0, 0.0, 1.0, 1.0)


def test_no_lines_give_zero_and_no_nan() -> None:
    assert count_all([], []) == ErrorCounts.zero()
    assert ErrorCounts.zero().cer == 0.0


def test_a_reference_without_a_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="each reference needs a prediction, got 2 and 1"):
        count_all(["가", "나"], ["가"])


def test_lists_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ErrorCounts.from_list([1, 2, 3])


def count_details(reference: str, prediction: str) -> LineCounts:
    return LineCounts.from_list(count_lines([reference], [prediction])[0, NUM_ERROR_COLUMNS:])


def test_every_rate_over_2000_random_pairs_is_that_of_jiwer() -> None:
    rng = np.random.default_rng(6)
    characters = np.array([*KS_X_1001[::23], *"0123456789+-×÷=(),. ", *"    "])
    references, predictions = [], []
    for _ in range(2000):
        reference = rng.choice(characters, int(rng.integers(5, 31)))
        keep = rng.random(len(reference)) > 0.15
        read = np.where(keep, reference, rng.choice(characters, len(reference)))[
            rng.random(len(reference)) > 0.05
        ]
        references.append("가" + "".join(reference))
        predictions.append("".join(read) + "".join(rng.choice(characters, int(rng.integers(0, 4)))))
    sums = count_lines(references, predictions).sum(axis=0)
    errors, details = (
        ErrorCounts.from_list(sums[:NUM_ERROR_COLUMNS]),
        LineCounts.from_list(sums[NUM_ERROR_COLUMNS:]),
    )
    decomposed = [
        [unicodedata.normalize("NFD", text) for text in texts] for texts in (references, predictions)
    ]
    bare = [[text.replace(" ", "") for text in texts] for texts in (references, predictions)]
    aligned = jiwer.process_characters(references, predictions)
    assert errors.cer == pytest.approx(jiwer.cer(references, predictions), abs=1e-12)
    assert errors.wer == pytest.approx(jiwer.wer(references, predictions), abs=1e-12)
    assert errors.character_accuracy == aligned.hits / (
        aligned.hits + aligned.substitutions + aligned.deletions
    )
    assert details.jamo_cer == pytest.approx(jiwer.cer(*decomposed), abs=1e-12)
    assert details.cer_without_spaces == pytest.approx(jiwer.cer(*bare), abs=1e-12)
    assert errors == count_all(references, predictions)
    assert 0.1 < errors.cer < 0.5


@pytest.mark.parametrize(
    ("reference", "prediction", "positional", "jamo", "bare"),
    [
        # (positional hits, positions), (jamo errors, jamo), (errors, characters without spaces); by hand
        ("탁자 7개", "탁자 7개", (5, 5), (0, 9), (0, 4)),
        ("탁자 7개", "탁자7개", (2, 5), (1, 9), (0, 4)),
        ("각", "가", (0, 1), (1, 3), (1, 1)),
        ("가나다라", "X가나다라", (0, 4), (1, 8), (1, 4)),  # one insertion makes all positions wrong
        ("가나", "나", (0, 2), (2, 4), (1, 2)),
        ("가", "가나다", (1, 1), (4, 2), (2, 1)),
        ("12", "21", (0, 2), (2, 2), (2, 2)),
    ],
)
def test_the_other_rates_of_a_pair_are_those_worked_out_by_hand(
    reference: str, prediction: str, positional: tuple[int, int], jamo: tuple[int, int], bare: tuple[int, int]
) -> None:
    details = count_details(reference, prediction)
    assert (details.positional_hits, details.positions) == positional
    assert details.positional_accuracy == positional[0] / positional[1]
    assert details.jamo_cer == pytest.approx(jamo[0] / jamo[1])
    assert details.cer_without_spaces == pytest.approx(bare[0] / bare[1])


def test_one_insertion_spoils_positional_accuracy_but_not_character_accuracy() -> None:
    details = count_details(*EXAMPLE_PAIRS[0])
    assert (details.positional_hits, details.positions) == (11, 36)  # up to `$7$`
    assert count_errors(*EXAMPLE_PAIRS[0]).character_accuracy == 1.0
    assert details.bare_insertions == 2  # 개에


def test_rates_without_a_denominator_are_none() -> None:
    nothing = count_details("", "")
    assert (nothing.positional_accuracy, nothing.jamo_cer, nothing.cer_without_spaces) == (None, None, None)
    assert divide(0, 3) == 0.0
    assert divide(3, 0) is None


@settings(deadline=None)
@given(pairs=PAIRS, cut=st.integers(0, 12))
def test_counts_of_lines_have_one_column_each_and_do_not_depend_on_parts(
    pairs: list[tuple[str, str]], cut: int
) -> None:
    references, predictions = [reference for reference, _ in pairs], [prediction for _, prediction in pairs]
    counts = count_lines(references, predictions)
    assert counts.shape == (len(pairs), len(COLUMNS))
    parts = [count_lines(references[part], predictions[part]) for part in (slice(cut), slice(cut, None))]
    assert np.array_equal(np.concatenate(parts), counts)
    assert ErrorCounts.from_list(counts.sum(axis=0)[:NUM_ERROR_COLUMNS]) == count_pairs(pairs)


@settings(deadline=None)
@given(reference=LINE, prediction=LINE)
def test_jamo_errors_mean_that_a_line_is_wrong_and_spaces_alone_are_no_errors_without_spaces(
    reference: str, prediction: str
) -> None:
    details = count_details(reference, prediction)
    errors = details.jamo_substitutions + details.jamo_deletions + details.jamo_insertions
    assert (errors == 0) == bool(count_errors(reference, prediction).exact)
    spaced = count_details(reference, " ".join(canonical(prediction)))
    assert (spaced.bare_hits, spaced.bare_insertions) == (details.bare_hits, details.bare_insertions)


@pytest.mark.parametrize("pair", [("가" * 20_001, "나"), ("나", "가" * 10_000_000)])
def test_texts_that_would_take_minutes_to_align_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(
        ValueError, match=rf"at most 20000 characters, got {max(map(len, pair))}; evaluate lines"
    ):
        evaluate_pairs([pair[0]], [pair[1]])
