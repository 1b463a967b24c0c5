"""The card of a model: the README.md beside its weights, in the form that the Hugging Face hub reads."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from ocr_ray.dataset.card import escape_markdown, make_table
from ocr_ray.dataset.plan import MANIFEST, flatten
from ocr_ray.storage.location import Location, read_bytes, read_json

PACKAGES = (
    "ocr_ray",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pillow",
    "pyarrow",
    "ray",
)
METRICS = {
    "validation_loss_all": "loss",
    "validation_loss_page": "loss on pages",
    "validation_cer": "CER",
    "validation_wer": "WER",
    "validation_character_accuracy": "character accuracy",
    "validation_exact_match": "exact match",
    "validation_generated_lines": "lines read",
}
"""What a validation tells of all lines, and behind `<dataset>/` of a dataset's, with the heads of columns."""

LOADING = """\
```python
from PIL import Image
from transformers import TrOCRProcessor, VisionEncoderDecoderModel
processor, model = (kind.from_pretrained("{name}") for kind in (TrOCRProcessor, VisionEncoderDecoderModel))
pixel_values = processor(Image.open("line.png").convert("RGB"), return_tensors="pt").pixel_values
print(processor.decode(model.generate(pixel_values)[0], skip_special_tokens=True))
```"""


def describe_datasets(places: Mapping[str, Location]) -> dict[str, dict[str, Any]]:
    """Return of each complete dataset its place, the SHA-256 of its manifest, and its lines by split."""
    return {
        name: {
            "uri": place.uri,
            "manifest_sha256": hashlib.sha256(read_bytes(place / MANIFEST)).hexdigest(),
            "lines": read_json(place / MANIFEST)["counts"]["by_split"],
        }
        for name, place in places.items()
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of what decides weights."""
    return {"python": python_version(), **{name: version(name) for name in PACKAGES}}


def training_card(name: str, about: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> str:
    """Return the card of a model that lies in a folder of that name.

    `about` is what `metrics.json` holds: run, base_model, label_column, datasets, mixture, config, versions,
    metrics of the checkpoint, history of validations; what it lacks is left out. Of the samples those of the
    last validation are shown.
    """
    config = about.get("config", {})
    settings = flatten({key: value for key, value in config.items() if key not in ("job", "lines")})
    facts = {
        "weights after": f"{about['metrics']['lines']:,} lines",
        "base model": about["base_model"],
        "label column": about["label_column"],
        "seed": config.get("seed", ""),
        "run": about["run"],
    }
    blocks = [
        _write_header(str(about["base_model"])),
        f"# {escape_markdown(name)}",
        "Fine-tuned by ocr_ray to read one printed line of Korean elementary maths: a "
        "`VisionEncoderDecoderModel` for a greyscale line resized to the square of its image processor.",
        make_table(("", ""), [(key, str(value)) for key, value in facts.items()]),
        "## Reading a line",
        LOADING.format(name=name),
        _show_metrics(about.get("history", [])),
        _show_samples(samples),
        _show_data(about),
        "## Training",
        make_table(("setting", "value"), [(key, str(value)) for key, value in settings.items()]),
        make_table(("package", "version"), about.get("versions", {}).items()),
        "`metrics.json` holds all of this and the figures of every validation.",
    ]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _write_header(base_model: str) -> str:
    is_on_hub = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", base_model) and not Path(base_model).exists()
    base = f"base_model: {base_model}\n" if is_on_hub else ""
    return (
        "---\nlanguage: ko\nlibrary_name: transformers\npipeline_tag: image-to-text\n"
        f"tags: [ocr, trocr, mathematics]\nmetrics: [cer, wer]\n{base}---"
    )


def _show_metrics(history: Sequence[Mapping[str, Any]]) -> str:
    """Show the figures of the last validation, over all lines and for each dataset."""
    if not history:
        return ""
    record = history[-1]
    datasets = dict.fromkeys(key.rpartition("/")[0] for key in record if "/validation_" in key)
    columns = [key for key in METRICS if key in record]
    rows = [
        (
            dataset or "all",
            *(_format(key, record.get(f"{dataset}/{key}" if dataset else key)) for key in columns),
        )
        for dataset in ["", *datasets]
    ]
    heads = ("validation lines of", *(METRICS[key] for key in columns))
    title = f"## Figures of the validation after {record['lines']:,} lines, in epoch {record['epoch']}"
    return f"{title}\n\n{make_table(heads, rows)}"


def _format(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if key.endswith("_lines") else f"{value:.4f}"


def _show_samples(samples: Sequence[Mapping[str, Any]]) -> str:
    if not samples:
        return ""
    last = max(sample["lines"] for sample in samples)
    columns = ("dataset", "line_id", "truth", "prediction")
    rows = [[str(sample[key]) for key in columns] for sample in samples if sample["lines"] == last]
    return "## Lines as it reads them\n\n" + make_table(columns, rows)


def _show_data(about: Mapping[str, Any]) -> str:
    """Show the datasets with the hashes of their manifests, and the mixture."""
    rows = [
        (
            name,
            facts["uri"],
            facts["lines"].get("train", 0),
            facts["lines"].get("validation", 0),
            facts["manifest_sha256"],
        )
        for name, facts in about.get("datasets", {}).items()
    ]
    table = make_table(
        ("dataset", "place", "train lines", "validation lines", "SHA-256 of manifest.json"), rows
    )
    told = [str(about[key]) for key in ("mixture", "mixture_warning") if about.get(key)]
    if not table and not told:
        return ""
    return "\n\n".join(filter(None, ["## Data", table, *map(escape_markdown, told)]))
