"""A report with every section, counted from the predictions of two simulated models, and example lines."""

import io
import json
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.dataset.lines import WordOrigin
from ocr_ray.evaluation.alignment import align
from ocr_ray.evaluation.analysis.baseline import compare_reports
from ocr_ray.evaluation.analysis.confusions import count_confusions
from ocr_ray.evaluation.analysis.error_kinds import ERROR_KINDS, name_error_kind
from ocr_ray.evaluation.analysis.slices import SliceInputs
from ocr_ray.evaluation.analysis.whole_problems import ProblemText
from ocr_ray.evaluation.html.examples import Example, Examples, list_ops
from ocr_ray.evaluation.predictions import PREDICTIONS_SCHEMA
from ocr_ray.evaluation.report import Evaluation, ReportConfig
from ocr_ray.metrics import count_lines, describe_counts
from ocr_ray.render.fonts.find import DEFAULT_FONTS, find_available_fonts

WORDS = (
    "학생들이",
    "탁자",
    "7개에",
    "똑같이",
    "나누어",
    "앉으려고",
    "직사각형의",
    "넓이는",
    "몇",
    "cm²입니까?",
)
LOOKALIKES = {"이": "미", "자": "지", "7": "1", "8": "3", "+": "÷", " ": "", "몇": "몇몇"}
SOURCES = ("page", "words", "arithmetic", "spliced")
NUM_BOXES = 6
"""Of a page."""


def make_rows(num_lines: int, *, error_rate: float = 0.05, seed: int = 1) -> list[dict[str, Any]]:
    """Return predictions of a model that sometimes misreads, guesses ends, hallucinates a tail and solves.

    The lines are the same for every model: pages of six boxes, rendered words, arithmetic, spliced words.
    """
    rng = np.random.default_rng(seed)
    rows = [_make_line(number) for number in range(num_lines)]
    for row, following in zip(rows, [*rows[1:], rows[0]], strict=True):
        row["prediction"] = _read(row, following["text"].split()[0], rng, error_rate)
        is_exact = row["prediction"] == row["text"]
        row["confidence"] = float(rng.beta(20, 1) if is_exact else rng.beta(4, 1))
    return rows


def make_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA)


@cache
def make_image(text: str, size: tuple[int, int] = (384, 384)) -> bytes:
    """Return the text as a dataset stores it: drawn on one line, then squeezed into a square."""
    left, top, right, bottom = map(round, _font().getbbox(text))
    image = Image.new("L", (right - left + 16, bottom - top + 16), 245)
    ImageDraw.Draw(image).text((8 - left, 8 - top), text, 30, _font())
    buffer = io.BytesIO()
    image.resize(size).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def make_example(row: dict[str, Any], **changes: Any) -> Example:
    values = {
        "line_id": row["line_id"],
        "dataset": row["dataset"],
        "reference": row["text"],
        "prediction": row["prediction"],
        "image_bytes": make_image(row["text"]),
        "confidence": row["confidence"],
        "ops": list_ops(align(row["text"], row["prediction"])),
        "width_px": row["width_px"],
        "height_px": row["height_px"],
        **changes,
    }
    return Example(**values)


def make_report() -> tuple[dict[str, Any], Examples]:
    """Return a report with a baseline, and examples: the arguments of `report_html`."""
    rows, others = make_rows(144), make_rows(144, error_rate=0.12, seed=2)
    report, baseline = count_rows(rows, "models/best_ocr"), count_rows(others, "models/before")
    report["baseline"] = compare_reports(
        report,
        baseline,
        predictions=[make_table(rows)],
        baseline_predictions=[make_table(others)],
        inputs=_make_inputs(rows),
    )
    wrong = [index for index, row in enumerate(rows) if row["text"] != row["prediction"]]
    confused: dict[tuple[str, str], list[Example]] = {}
    for index in wrong:
        for confusion in count_confusions([align(rows[index]["text"], rows[index]["prediction"])]):
            if len(examples := confused.setdefault(confusion, [])) < 3:
                examples.append(make_example(rows[index]))
    kinds: dict[str, list[Example]] = {kind: [] for kind in ERROR_KINDS[:4]}
    for index in wrong:
        kind = name_error_kind(align(rows[index]["text"], rows[index]["prediction"]))
        if len(kinds.get(kind, "xx")) < 2:
            kinds[kind].append(make_example(rows[index]))
    shown = Examples(
        worst=[make_example(rows[n], baseline_prediction=others[n]["prediction"]) for n in wrong[:30]],
        random=[make_example(row) for row in rows[::5]],
        kinds={kind: lines for kind, lines in kinds.items() if lines},
        confusions=confused,
    )
    return json.loads(json.dumps(report)), shown


def count_rows(rows: list[dict[str, Any]], model_uri: str) -> dict[str, Any]:
    """Return the report on rows, with every section but the baseline."""
    table = make_table(rows)
    config = ReportConfig(
        model_uri=model_uri,
        lines_uris={"lines": "runs/lines", "crops_of_books": "s3://bucket/crops"},
        split="validation",
        label_column="text",
        decoding={"num_beams": 1},
    )
    evaluation = Evaluation(config, _make_inputs(rows), _list_origins(rows))
    evaluation.add(table)
    counts = count_lines(table["text"].to_pylist(), table["prediction"].to_pylist())
    return {
        "created_at": "2026-01-02T03:04:05+00:00",
        **evaluation.describe(),
        "printed": {**describe_counts(counts.sum(axis=0)), "unprintable": 3},
        "long_lines": {
            "max_aspect": 15.0,
            "lines": 40,
            "whole": describe_counts(counts[:40].sum(axis=0)),
            "in_pieces": describe_counts(counts[40:80].sum(axis=0)),
        },
        "hashes": {"model_sha256": "5f" * 32, "lines": {"lines": "0a" * 32, "crops_of_books": "0b" * 32}},
    }


def _make_line(number: int) -> dict[str, Any]:
    """Return a line without a prediction; six of every 12 lines are the boxes of a page."""
    rng = np.random.default_rng(number)
    position = number % (2 * NUM_BOXES)
    source = "page" if position < NUM_BOXES else SOURCES[1 + position % 3]
    text = " ".join(rng.choice(WORDS, size=int(rng.integers(2, 8))).tolist())
    if source == "arithmetic":
        first, second = rng.integers(10, 99, size=2).tolist()
        text = f"{first} + {second} = {first + second + 10 * (number % 2)}"
    if source == "spliced":
        text = " ".join(_make_line(number - position + box)["text"].split()[0] for box in (4, 2, 0))
    is_page = source == "page"
    return {
        "dataset": "crops" if source in ("page", "spliced") else "lines",
        "line_id": f"{number:09d}",
        "text": text,
        "source": source,
        "font": None if source in ("page", "spliced") else ("바탕", "굴림")[rng.integers(2)],
        "page_id": f"P{number // (2 * NUM_BOXES)}" if is_page else None,
        "page_order": position if is_page else None,
        "width_px": 20 * len(text),
        "height_px": 32,
        "markup": text.replace("7", "$7$") if number % 5 else "$\\frac{1}{2}$",
    }


def _read(row: dict[str, Any], following: str, rng: np.random.Generator, error_rate: float) -> str:
    text = row["text"]
    if row["source"] == "arithmetic" and rng.random() < 4 * error_rate:
        left = text.split(" = ")[0]
        return f"{left} = {sum(map(int, left.split(' + ')))}"
    rates = np.linspace(0, 2 * error_rate, len(text)) * (2 if row["source"] == "spliced" else 1)
    read = "".join(
        LOOKALIKES.get(char, "의") if rng.random() < rate else char
        for char, rate in zip(text, rates, strict=True)
    )
    hallucinates = row["source"] == "page" and rng.random() < error_rate
    return f"{read} {following}" if hallucinates else read


def _make_inputs(rows: list[dict[str, Any]]) -> SliceInputs:
    """Return the words and fonts of a training dataset, and the problems that the boxes are cut from."""
    boxes: dict[str, list[str]] = {}
    for row in rows:
        if row["page_id"] is not None:
            boxes.setdefault(row["page_id"], []).append(row["text"])
    problems = {
        page_id: ProblemText(" ".join(texts).replace("몇 ", "몇"), True) for page_id, texts in boxes.items()
    }
    return SliceInputs(
        training_words=frozenset(WORDS[:6]), training_fonts={"바탕"}, problems={"crops": problems}
    )


def _list_origins(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[WordOrigin]]:
    """Return the origin of the words of spliced lines: the first words of three boxes before them."""
    starts = {row["line_id"]: int(row["line_id"]) // (2 * NUM_BOXES) * 2 * NUM_BOXES for row in rows}
    return {
        ("crops", row["line_id"]): [WordOrigin(f"{starts[row['line_id']] + box:09d}", 0) for box in (4, 2, 0)]
        for row in rows
        if row["source"] == "spliced"
    }


@cache
def _font() -> ImageFont.FreeTypeFont:
    font = find_available_fonts(DEFAULT_FONTS)[0]
    return ImageFont.truetype(io.BytesIO(font.content), 32, index=font.face)
