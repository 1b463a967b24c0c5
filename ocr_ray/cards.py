"""Cards: the README.md of a dataset and of a model, in the form that the Hugging Face hub reads."""

from collections.abc import Mapping
from typing import Any

from ocr_ray.lines import Manifest


def dataset_card(manifest: Manifest) -> str:
    """Return a dataset's card; its header tells `datasets.load_dataset` which files are which split."""
    splits = [split for split, lines in manifest.counts["by_split"].items() if lines]
    files = "".join(f"      - split: {split}\n        path: {split}/*.parquet\n" for split in splits)
    return (
        "---\nlanguage: ko\ntask_categories: [image-to-text]\nconfigs:\n"
        f"  - config_name: default\n    data_files:\n{files or '      []'}---\n\n"
        f"# {manifest.counts['lines']:,} lines of text with their pictures\n\n"
        f"Made {manifest.created_at} by ocr_ray (`{manifest.config.get('job', '')}`), "
        f"configuration {manifest.config_sha256[:12]}.\n\n"
        + _table("split", manifest.counts["by_split"])
        + _table("source", manifest.counts["by_source"])
        + _table("font", manifest.counts["by_font"])
        + _table("reject", manifest.rejects)
        + "Columns: `line_id`, `image`, `text` (what is printed), `markup` (with maths in `$…$` LaTeX), "
        "`source`, `font`, `page_id`, `page_order`, `width_px`, `height_px`, `style`.\n"
        "`manifest.json` holds the whole configuration, the digests of all parts and the versions.\n"
    )


def model_card(name: str, facts: Mapping[str, Any]) -> str:
    """Return a model's card with what is known of its training."""
    rows = "".join(f"| {key} | {value} |\n" for key, value in facts.items())
    return (
        "---\nlanguage: ko\npipeline_tag: image-to-text\n---\n\n"
        f"# {name}\n\nFine-tuned by ocr_ray to read one printed line of Korean elementary maths: a "
        "`VisionEncoderDecoderModel` for a greyscale line resized to the square of its image processor.\n\n"
        f"| | |\n|---|---|\n{rows}\n`metrics.json` holds every epoch's figures.\n"
    )


def _table(name: str, counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    return (
        f"| {name} | lines |\n|---|---|\n" + "".join(f"| {k} | {v:,} |\n" for k, v in counts.items()) + "\n"
    )
