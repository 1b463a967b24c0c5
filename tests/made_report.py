"""A report with every section, its lines read by two planted models, and the pictures of those lines."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from ocr_ray.evaluation.baseline import compare_reports
from ocr_ray.evaluation.bootstrap import describe_intervals, describe_slices, number_clusters
from ocr_ray.evaluation.calibration import calibrate
from ocr_ray.evaluation.report import ReportConfig, build_report
from ocr_ray.evaluation.report_examples import Example, Examples
from ocr_ray.metrics import count_lines

WORDS = (
    "학생들이",
    "탁자",
    "7개에",
    "똑같이",
    "나누어",
    "앉으려고",
    "직사각형",
    "넓이는",
    "3",
    "×",
    "8",
    "cm²",
)
SOURCES = ("page", "words", "arithmetic")


def make_rows(num_lines: int = 240, *, error_rate: float = 0.05, seed: int = 1) -> list[dict[str, Any]]:
    """Return rows of predictions, four lines to a page, of a model that misreads characters at random."""
    texts, errors = np.random.default_rng(0), np.random.default_rng(seed)
    rows = []
    for number in range(num_lines):
        text = " ".join(texts.choice(WORDS, size=4).tolist())
        read = "".join("8" if errors.random() < error_rate else char for char in text)
        source = SOURCES[number % 3]
        rows.append(
            {
                "dataset": "crops" if source == "page" else "lines",
                "line_id": f"{number:09d}",
                "text": text,
                "prediction": read,
                "confidence": 0.95 if read == text else 0.75,
                "source": source,
                "font": None if source == "page" else ("바탕", "굴림")[number % 2],
                "page_id": f"P{number // 12}" if source == "page" else None,
                "page_order": number % 12 if source == "page" else None,
            }
        )
    return rows


def make_table(rows: list[dict[str, Any]]) -> pa.Table:
    types = {"confidence": pa.float32(), "page_order": pa.int32()}
    names = list(make_rows(1)[0])
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    return pa.Table.from_pylist(rows, schema=schema)


def make_image(text: str, size: tuple[int, int] = (384, 384)) -> bytes:
    """Return a square picture of as many strokes as the text has characters."""
    image = Image.new("L", size, 245)
    draw = ImageDraw.Draw(image)
    for place in range(len(text)):
        x = 8 + place * (size[0] - 16) // max(1, len(text))
        draw.rectangle((x, size[1] // 4, x + 6, 3 * size[1] // 4), fill=30)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def make_example(row: dict[str, Any], **changes: Any) -> Example:
    ops = tuple(zip(row["text"], row["prediction"], strict=True))
    values = {
        "line_id": row["line_id"],
        "dataset": row["dataset"],
        "truth": row["text"],
        "prediction": row["prediction"],
        "image_bytes": make_image(row["text"]),
        "confidence": row["confidence"],
        "ops": ops,
        "width_px": 20 * len(row["text"]),
        "height_px": 32,
        **changes,
    }
    return Example(**values)


def make_report() -> tuple[dict[str, Any], Examples]:
    """Return a report with a baseline, and examples; both as they would be handed to `report_html`."""
    rows, others = make_rows(), make_rows(error_rate=0.12, seed=2)
    report, baseline = (
        build_report(
            [make_table(found)],
            ReportConfig(
                model_uri=f"models/{name}",
                lines_uris={"lines": "runs/lines", "crops": "s3://bucket/crops"},
                split="validation",
                label_column="text",
            ),
        )
        for name, found in (("best_ocr", rows), ("before", others))
    )
    table = make_table(rows)
    counts = count_lines([row["text"] for row in rows], [row["prediction"] for row in rows])
    clusters = number_clusters(table["dataset"], table["page_id"])
    report["overall"] |= {
        "intervals": describe_intervals(counts, clusters),
        "positional_accuracy": 0.91,
        "jamo_cer": 0.031,
    }
    found = describe_slices(counts, clusters, {"by_source": [row["source"] for row in rows]})
    for name, intervals in found["by_source"].items():
        report["by_source"][name]["intervals"] = intervals
    exact = [row["text"] == row["prediction"] for row in rows]
    report |= _make_sections()
    baseline |= _make_sections()
    report["calibration"] = calibrate([row["confidence"] for row in rows], exact).to_report()
    report["baseline"] = compare_reports(
        report, baseline, predictions=[table], baseline_predictions=[make_table(others)]
    )
    return report, _make_examples(rows, others)


def _make_sections() -> dict[str, Any]:
    return {
        "by_third": {
            name: {"lines": 240, "cer": cer, "counts": {}}
            for name, cer in (("first", 0.02), ("middle", 0.04), ("last", 0.31))
        },
        "unknown_lines": {"by_third": 7},
        "confusions": [
            {"truth": "이", "read": "8", "count": 1_234},
            {"truth": " ", "read": "8", "count": 12},
            {"truth": "", "read": "8", "count": 9},
            {"truth": "개", "read": "", "count": 3},
        ],
        "context_dependence": {
            "context_dependence": 6.32,
            "last_over_first": 10.0,
            "last_over_first_at_least": False,
            "spliced_over_own": None,
            "counts": {"last_errors": 18, "last_characters": 90},
        },
        "overread": {"overread_characters": 31, "lines": 9, "spill_characters": 4, "spill_share": 0.13},
        "arithmetic": {"digit_recall": 0.97, "equations": {"lines": 80, "exact_share": 0.9}, "solved": 2},
        "collapse": {
            "opening": {"text": "다음은", "share": 0.4, "share_in_truth": 0.1},
            "distinct_ratio": 0.6,
        },
        "joined_problems": {
            "problems": 20,
            "cer": 0.06,
            "missing_boxes": 1,
            "worst": [
                {"page_id": "P3", "text": "가 나", "prediction": "가 다", "cer": 0.33},
                {"page_id": "P7", "text": "라", "prediction": "마", "cer": 1.0},
            ],
        },
        "hashes": {"model_sha256": "5f" * 32, "lines": {"lines": "0a" * 32, "crops": "0b" * 32}},
        "long_lines": {"cut": 12, "cer_whole": 0.5, "cer_in_pieces": 0.1},
    }


def _make_examples(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> Examples:
    wrong = [place for place, row in enumerate(rows) if row["text"] != row["prediction"]]
    return Examples(
        worst=[make_example(rows[n], baseline_prediction=others[n]["prediction"]) for n in wrong[:12]],
        random=[make_example(row) for row in rows[:9]],
        confusions={
            ("이", "8"): [make_example(rows[n]) for n in wrong[:3]],
            (" ", "8"): [make_example(rows[wrong[0]])],
        },
    )
