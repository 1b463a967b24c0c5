"""Inputs of the training benchmarks: rendered lines in Parquet, as from `render_lines`, and two models."""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from transformers import DeiTConfig, RobertaConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import PartSpec, TextLine
from ocr_ray.dataset.parts import write_part
from ocr_ray.dataset.plan import cut_parts
from ocr_ray.model.load import load_model
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.render import fast
from ocr_ray.render.fonts.find import DEFAULT_FONTS, Font, find_available_fonts, shared_characters
from ocr_ray.render.style import StyleConfig, choose_font, draw_style
from ocr_ray.storage.location import locate
from ocr_ray.text.hangul import KS_X_1001
from ocr_ray.textgen.corpus import read_corpus
from ocr_ray.training.data.label_check import LabelLengths, check_labels
from ocr_ray.training.data.row_groups import LineDataset
from ocr_ray.training.setup import TrainData, open_splits

SEED = 7
NUM_DRAWN = 4096
"""Lines that are drawn; a larger dataset repeats them under other ids."""
LINES_PER_PART = 4096
MIN_CHARACTERS, MAX_CHARACTERS = 5, 30
NUM_TOKENIZER_TEXTS = 20_000
SMALL_VOCAB_SIZE = 32_000
"""Vocabulary of the small model's decoder, as in published models; the tokenizer is the tiny model's."""

Size = Literal["tiny", "small"]


@cache
def find_fonts() -> dict[str, Font]:
    """Return the default fonts by name."""
    return {font.name: font for font in find_available_fonts(DEFAULT_FONTS)}


def draw_texts(count: int, seed: int = SEED) -> list[str]:
    """Return texts of 5 to 30 characters, Korean words with spaces between."""
    characters = shared_characters(list(find_fonts().values())) & frozenset(KS_X_1001)
    words = [word for word in read_corpus(None).words if characters.issuperset(word)]
    rng = np.random.default_rng(seed)
    texts = []
    for length in rng.integers(MIN_CHARACTERS, MAX_CHARACTERS, size=count, endpoint=True).tolist():
        text = ""
        while len(text) < length:
            text = f"{text} {words[rng.integers(len(words))]}".strip()
        texts.append(text[:length].strip())
    return [text if len(text) >= MIN_CHARACTERS else text + "가" for text in texts]


def draw_lines(count: int) -> list[TextLine]:
    """Return lines in the default fonts and styles, squares of 384 px in JPEG of quality 90."""
    fonts, lines = find_fonts(), []
    for number, text in enumerate(draw_texts(count)):
        font = fonts[choose_font(list(fonts), SEED, number)]
        style = draw_style(StyleConfig(), SEED, number)
        image_bytes, width_px = fast.encode_line(text, font, style, ImageConfig())
        lines.append(
            TextLine(
                line_id=f"{number:09d}",
                image_bytes=image_bytes,
                text=text,
                markup=text,
                source="words",
                font=font.name,
                width_px=width_px,
                height_px=style.height_px,
                style=style.to_json(),
            )
        )
    return lines


def write_dataset(folder: Path, lines: Sequence[TextLine], num_lines: int) -> LineDataset:
    """Write `num_lines` train lines, repeating `lines`, and two validation lines."""
    place = locate(str(folder))

    def repeat(spec: PartSpec) -> Iterator[TextLine]:
        repeated = itertools.islice(itertools.cycle(lines), spec.start % len(lines), None)
        for number, line in zip(range(spec.start, spec.stop), repeated, strict=False):
            yield replace(line, line_id=f"{number:09d}")

    for spec in (*cut_parts("train", 0, num_lines, LINES_PER_PART), *cut_parts("validation", 0, 2, 2)):
        write_part(place, spec, "", repeat(spec))
    return LineDataset(name="lines", folder=place)


def write_model(folder: Path, size: Size) -> None:
    """Write a model of random weights.

    tiny: the project's own. small: DeiT-small (12 layers, 384 wide, patch 16: 577 positions) with a RoBERTa
    decoder of 6 layers, 256 wide, and 32,000 tokens.
    """
    write_tiny_model(folder, draw_texts(NUM_TOKENIZER_TEXTS, seed=SEED + 1), SEED)
    if size == "tiny":
        return
    tiny = VisionEncoderDecoderModel.from_pretrained(folder)
    encoder = DeiTConfig(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        intermediate_size=1536,
        image_size=384,
        patch_size=16,
    )
    decoder = RobertaConfig(
        **tiny.config.decoder.to_dict()
        | {
            "hidden_size": 256,
            "num_hidden_layers": 6,
            "num_attention_heads": 8,
            "intermediate_size": 1024,
            "vocab_size": SMALL_VOCAB_SIZE,
            "initializer_range": 0.02,
        }
    )
    names = ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")
    tokens = {name: getattr(tiny.config, name) for name in names if hasattr(tiny.config, name)}
    torch.manual_seed(SEED)
    network = VisionEncoderDecoderModel(
        config=VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder, **tokens)
    )
    network.generation_config = tiny.generation_config
    network.save_pretrained(folder)


@dataclass(frozen=True, kw_only=True)
class TrainInputs:
    """A dataset and a model."""

    model: Path
    data: TrainData


def make_inputs(folder: Path, dataset: LineDataset, size: Size) -> TrainInputs:
    """Write a model, check the labels of the dataset with it, and return both."""
    model = folder / size
    write_model(model, size)
    ocr = load_model(model)
    lengths: dict[str, LabelLengths] = {
        split.name: check_labels(ocr, split, "text") for split in open_splits([dataset])[0]
    }
    num_weights = sum(weights.numel() for weights in ocr.network.parameters())
    mean = np.mean(lengths[dataset.name])
    print_note(f"{size}: {num_weights:,} weights, {mean:.1f} tokens a line")
    return TrainInputs(model=model, data=TrainData(datasets=(dataset,), lengths=lengths))


def print_note(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


def print_case(case: str, ratio: float, **values: object) -> None:
    """Print a case as a line of JSON."""
    print(json.dumps({"case": case, "ratio": round(ratio, 3), **values}), flush=True)
