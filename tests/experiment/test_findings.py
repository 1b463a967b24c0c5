"""Measures, intervals and sentences of an experiment, worked out by hand."""

from typing import Any

import numpy as np
import pytest
from builders.readings import make_reading
from markupsafe import escape

from ocr_ray.experiment.findings import find_in_words
from ocr_ray.experiment.measures import (
    MEASURES,
    SETS,
    RunMeasures,
    count_line,
    describe_arm,
    estimate_difference,
    estimate_rate,
)
from ocr_ray.experiment.page import choose_arms, experiment_html


def test_a_line_counts_in_every_measure() -> None:
    line = make_reading("가나다라마바", "가나다라하바사아")  # one wrong character, two beyond the end
    assert count_line(line) == [3, 6, 0, 2, 0, 2, 3, 2, 1, 1, 0, 1]
    assert count_line(make_reading("가나다", "가나다")) == [0, 3, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1]


def test_a_rate_is_over_all_seeds_and_equal_pages_leave_no_doubt() -> None:
    seeds = [np.array([[1, 10]] * 5), np.array([[1, 10]] * 5)]
    assert estimate_rate(seeds) == (0.1, pytest.approx((0.1, 0.1)))
    others = [2 * np.array([[1, 5]] * 5)] * 2
    assert estimate_difference(seeds, others) == (pytest.approx(-0.1), pytest.approx((-0.1, -0.1)))
    assert estimate_rate([np.array([[1, 10]])]) == (0.1, None)
    assert estimate_rate([np.zeros((3, 2), np.int64)]) == (None, None)


def test_the_interval_covers_seeds_and_pages_and_a_paired_difference_less() -> None:
    """Both seeds of an arm are as far apart as its pages; the other arm is 0.1 worse everywhere."""
    low, high = np.array([[0, 10], [2, 10]] * 50), np.array([[4, 10], [6, 10]] * 50)
    value, interval = estimate_rate([low, high])
    assert value == pytest.approx(0.3)
    assert interval is not None
    assert interval[0] < 0.12
    assert interval[1] > 0.48
    one_seed = estimate_rate([low]).interval
    assert one_seed is not None
    assert 0.07 < one_seed[0] < 0.1 < one_seed[1] < 0.13
    worse = [pages + np.array([1, 0]) for pages in (low, high)]
    assert estimate_difference(worse, [low, high]) == (pytest.approx(0.1), pytest.approx((0.1, 0.1)))


def make_run(rates: dict[str, tuple[int, int]], *, by_page: tuple[int, int] = (0, 0)) -> RunMeasures:
    """Return a run on forty pages of each set: errors per 100 characters in first and last thirds.

    `by_page` are errors that every second page has more, so that intervals have a width.
    """
    pages = {}
    for line_set in SETS:
        first, last = rates.get(line_set.name, (5, 5))
        rows = []
        for extra in by_page * 20:
            row = dict.fromkeys(MEASURES, (0, 1))
            row["cer_first"], row["cer_middle"] = (first + extra, 100), (first + extra, 100)
            row["cer_last"] = (last + extra, 100)
            row["cer"] = (2 * first + last + 3 * extra, 300)
            rows.append([number for measure in MEASURES for number in row[measure]])
        pages[line_set.name] = np.array(rows, dtype=np.int64)
    return RunMeasures(pages=pages, num_lines={line_set.name: 40 for line_set in SETS}, context={})


def make_report(arms: dict[str, RunMeasures], **facts: Any) -> dict[str, Any]:
    baseline = [arms["pages"]]
    return {
        "model": "base",
        "num_seeds": 1,
        "steps_per_run": 100,
        "lines_per_run": 3200,
        "arms": [
            {
                "name": name,
                "label": f"pages with {name}, ratio 0.5" if name != "pages" else "pages alone",
                "added": None if name == "pages" else name,
                **describe_arm(baseline if name == "pages" else [run], baseline),
            }
            for name, run in arms.items()
        ],
        **facts,
    }


def test_it_is_said_that_tails_are_invented_and_what_context_free_lines_change() -> None:
    """Thirds of 5, 5 and 20 of 100 characters are a CER of 10 %; with words all thirds have 5."""
    report = make_report(
        {
            "pages": make_run({"boxes": (5, 20), "problems": (2, 2), "spliced": (20, 20)}),
            "words": make_run({"boxes": (5, 5), "problems": (3, 3), "spliced": (20, 20)}),
        }
    )
    setting, warning, failure, words, conclusion = find_in_words(report)
    assert setting == (
        "2 arms, each with 1 seed: every model starts from base and is trained on 3,200 lines in 100 steps."
    )
    assert warning == "With one seed the intervals cover the choice of pages, not the chance of training."
    assert failure == (
        "The failure is there: on problems cut into three boxes the CER of pages alone is 5.0 % in the first "
        "third of a line and 20.0 % in the last (+15.0 points, 95 % interval +15.0 to +15.0). Heads are read "
        "and tails are invented."
    )
    assert words == (
        "Pages with words, ratio 0.5, CER compared with pages alone: held-out problems 3.0 %, worse (+1.0 "
        "points, 95 % interval +1.0 to +1.0); spliced lines 20.0 %, no difference can be told (+0.0 points, "
        "95 % interval +0.0 to +0.0); problems cut into three boxes 5.0 %, better (-5.0 points, 95 % "
        "interval -5.0 to -5.0)."
    )
    assert conclusion == (
        "Context-free lines make the model better on problems cut into three boxes, worse on held-out "
        "problems; on spliced lines no difference can be told."
    )


def test_models_that_read_no_heads_do_not_show_the_failure() -> None:
    report = make_report({"pages": make_run({"boxes": (60, 90)}), "words": make_run({"boxes": (60, 90)})})
    failure = find_in_words(report)[2]
    assert failure.startswith(
        "The failure cannot be told from not reading at all: on problems cut into three"
    )


def test_it_is_said_that_context_free_lines_are_no_better_and_that_models_hardly_read() -> None:
    pages = make_run({"problems": (60, 60), "boxes": (50, 50)})
    worse = make_run({"problems": (70, 70), "boxes": (50, 50)})
    _, _, hardly, failure, *_, conclusion = find_in_words(make_report({"pages": pages, "words": worse}))
    assert hardly.startswith("The models hardly read: the lowest CER on held-out problems is 60.0 %.")
    assert "The failure is not there" in failure
    assert failure.endswith("No difference between the thirds can be told.")
    assert conclusion == (
        "Context-free lines make the model no better on any of these sets, and worse on held-out problems."
    )


def test_running_text_that_helps_as_much_is_named_and_the_best_ratio_is_chosen() -> None:
    pages = make_run({"spliced": (30, 30)})
    better, best = make_run({"spliced": (20, 20)}), make_run({"spliced": (10, 10)})
    arms = make_report({"pages": pages, "words": better, "text": better}, num_seeds=3)["arms"]
    (stronger,) = make_report({"pages": pages, "words": best})["arms"][1:]
    report = make_report({"pages": pages}, num_seeds=3)
    report["arms"] = [*arms, stronger | {"label": "pages with words, ratio 1"}]
    findings = find_in_words(report)
    assert findings[2].startswith("Pages with words, ratio 1, CER")
    assert findings[2].endswith("The ratio was chosen by these figures, which flatters them.")
    assert findings[-1] == (
        "Context-free lines make the model better on spliced lines; on held-out problems and problems cut "
        "into three boxes no difference can be told. Running text does so too on spliced lines: there, more "
        "lines help, with context or not."
    )
    only_words = make_report({"pages": pages, "words": best, "text": pages}, num_seeds=3)
    assert find_in_words(only_words)[-1].endswith(
        "Running text does not: it is the lack of context that helps."
    )


def test_the_page_shows_the_sentences_the_arms_and_marks_what_is_better() -> None:
    arms = {"pages": make_run({"boxes": (5, 20)}), "words": make_run({"boxes": (5, 5)})}
    sets = {line_set.name: {"label": line_set.label, "lines": 40} for line_set in SETS}
    report = make_report(arms, sets=sets)
    for arm in report["arms"]:
        factors = ("context_dependence", "last_over_first", "spliced_over_own")
        arm["context"] = [dict.fromkeys(factors, 1.5)]
        arm["ratio"] = 0.0 if arm["added"] is None else 0.5
    report["findings"] = find_in_words(report)
    page = experiment_html(report, [])
    assert all(str(escape(sentence)) in page for sentence in report["findings"])
    assert page.count('class="number better"') == 2  # the CER and that of the last third, on one set
    assert 'class="number worse"' not in page
    assert choose_arms(report) == ["pages", "words"]
