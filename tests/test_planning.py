import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_ray.planning import PlanConfig, plan_lines


def test_the_defaults_give_the_figures_of_the_model_they_are_for() -> None:
    assert plan_lines(PlanConfig()) == {
        "contextual_lines": 6_015_224,
        "plans": [
            {"ratio": 0.3, "lines": 1_804_567, "lines_per_font": 601_523},
            {"ratio": 0.5, "lines": 3_007_612, "lines_per_font": 1_002_538},
        ],
        "starter_lines": [100_000, 300_000],
    }


def test_a_half_line_is_rounded_up() -> None:
    config = PlanConfig(pretraining_lines=5, labelled_lines=0, ratios=(0.1, 0.3, 0.5), fonts=1)
    assert [entry["lines"] for entry in plan_lines(config)["plans"]] == [1, 2, 3]


@settings(deadline=None)
@given(
    contextual=st.integers(1, 10**9),
    ratio=st.integers(1, 100).map(lambda percent: percent / 100),
    fonts=st.integers(1, 50),
)
def test_no_font_falls_short_and_no_line_is_off_by_more_than_a_half(
    contextual: int, ratio: float, fonts: int
) -> None:
    config = PlanConfig(pretraining_lines=contextual, labelled_lines=0, ratios=(ratio,), fonts=fonts)
    (entry,) = plan_lines(config)["plans"]
    assert abs(entry["lines"] - contextual * ratio) <= 0.5 + 1e-6
    assert 0 <= entry["lines_per_font"] * fonts - entry["lines"] < fonts


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"pretraining_lines": -1}, "pretraining_lines must not be negative, got -1"),
        ({"labelled_lines": -5}, "labelled_lines must not be negative, got -5"),
        ({"pretraining_lines": 0, "labelled_lines": 0}, "must not both be 0"),
        ({"ratios": ()}, "ratios must be one or more shares"),
        ({"ratios": (0.3, 30.0)}, r"at most 1, got \(0.3, 30.0\)"),
        ({"ratios": (0.0,)}, "above 0"),
        ({"fonts": 0}, "fonts must be at least 1, got 0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_the_name_of_its_flag(
    flags: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PlanConfig(**flags)  # type: ignore[arg-type]
