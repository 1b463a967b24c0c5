"""How a job was called, written down and read back."""

import json
import shlex

import pytest

from ocr_ray.audit.recorded_config import build_config
from ocr_ray.cli.flags import describe_flags, list_arguments, write_command
from ocr_ray.dataset.images import ImageConfig
from ocr_ray.errors import InputError
from ocr_ray.render.config import RenderConfig, SourceConfig
from ocr_ray.render.style import StyleConfig
from ocr_ray.textgen.arithmetic.expressions import ArithmeticConfig
from ocr_ray.textgen.sampler import TextConfig


@pytest.mark.parametrize(
    "config",
    [
        RenderConfig(out_uri="/lines"),
        RenderConfig(
            out_uri="/new lines",
            num_lines=7,
            sources=SourceConfig(
                corpus_uri="/a b/c",
                texts_uri="s3://bucket/texts",
                lengths_like="/lengths",
                pictures_uri="/pictures",
                model="team-lucid/trocr-small-korean",
            ),
            fonts=("맑은 고딕", "바탕=/f o/x.ttf", "batang.ttc#2"),
            fonts_uri="/fonts",
            holdout_fonts=("굴림", "It's"),
            validation_share=0.0,
            test_share=1e-05,
            text=TextConfig(
                min_length=1,
                arithmetic_share=0.25,
                holdout_word_share=0.125,
                arithmetic=ArithmeticConfig(grades=(2, 5), false_share=0.0),
            ),
            style="plain",
            look=StyleConfig(text_height_px=(20, 30), skew_deg=(-1.5, -0.5), neighbour_share=0.0),
            renderer="trdg",
            image=ImageConfig(size="native"),
            num_cpus=3,
            verify="rows",
        ),
        RenderConfig(out_uri="/lines", image=ImageConfig(format="png"), fonts=("굴림",), seed=2**62),
    ],
)
def test_a_configuration_comes_back_from_its_flags(config: RenderConfig) -> None:
    flags = json.loads(json.dumps(describe_flags(config)))
    assert build_config(RenderConfig, flags) == config


def test_a_flag_of_another_version_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"recorded flags must exist in this version of the job, --colour do not"
    ):
        build_config(RenderConfig, {"out-uri": "/lines", "colour": "red"})


def test_every_kind_of_value_becomes_words() -> None:
    flags = {"use-gpu": True, "quiet": False, "fonts": ["맑은 고딕", "굴림"], "seed": 3, "model": None}
    words = ["--use-gpu", "--no-quiet", "--fonts", "맑은 고딕", "굴림", "--seed", "3"]
    assert list_arguments(flags) == words
    command = write_command("render_lines", flags)
    assert "'맑은 고딕'" in command
    assert shlex.split(command) == ["ocr-ray", "render-lines", *words]
