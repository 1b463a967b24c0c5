"""The card of a model: the README.md in its folder, with metadata for the Hugging Face hub."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ocr_ray.dataset.card import escape_markdown, make_table
from ocr_ray.dataset.hub import AI_HUB, describe_license
from ocr_ray.dataset.manifest import read_manifest
from ocr_ray.dataset.plan import MANIFEST, flatten
from ocr_ray.storage.location import Location, read_bytes

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
COLUMNS = {
    "validation_loss_all": "loss",
    "validation_loss_page": "loss on pages",
    "validation_cer": "CER",
    "validation_wer": "WER",
    "validation_character_accuracy": "character accuracy",
    "validation_exact_match": "exact match",
    "validation_generated_lines": "lines read",
}
"""Metrics of a validation with their column names; the metrics of a dataset have `<dataset>/` in front."""
HUB_METRICS = {"validation_cer": "cer", "validation_wer": "wer"}
"""Metrics that the hub knows, with their ids there."""

FROM_AI_HUB = (
    "**Do not publish this model.** It was trained on lines of pages for which no licence was given. They "
    "count as pages of AI Hub, whose licence forbids to pass on the data or what is made from it."
)

TEMPLATE = """\
---
{{ card_data }}
---

# {{ title }}

Fine-tuned by ocr_ray to read one printed line of Korean elementary maths: a `VisionEncoderDecoderModel` for a
greyscale line resized to the square of its image processor.

{{ facts }}

## Reading a line

```python
from PIL import Image
from transformers import TrOCRProcessor, VisionEncoderDecoderModel
processor, model = (cls.from_pretrained("{{ name }}") for cls in (TrOCRProcessor, VisionEncoderDecoderModel))
pixel_values = processor(Image.open("line.png").convert("RGB"), return_tensors="pt").pixel_values
print(processor.decode(model.generate(pixel_values)[0], skip_special_tokens=True))
```
{%- if warning %}

{{ warning }}
{%- endif %}
{%- if metrics %}

## Validation after {{ lines }} lines, in epoch {{ epoch }}

{{ metrics }}
{%- endif %}
{%- if samples %}

## Sample predictions

{{ samples }}
{%- endif %}
{%- if data %}

## Data

{{ data }}
{%- endif %}

## Training
{%- for table in training %}

{{ table }}
{%- endfor %}

`metrics.json` holds all of this and the metrics of every validation.
"""


def describe_datasets(folders: Mapping[str, Location]) -> dict[str, dict[str, Any]]:
    """Return the URI, the SHA-256 of the manifest and the number of lines by split of each dataset."""
    return {
        name: {
            "uri": folder.uri,
            "manifest_sha256": hashlib.sha256(read_bytes(folder / MANIFEST)).hexdigest(),
            "lines": read_manifest(folder).counts["by_split"],
        }
        for name, folder in folders.items()
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of the packages that can change the weights."""
    return {"python": python_version(), **{name: version(name) for name in PACKAGES}}


def model_card(name: str, about: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> str:
    """Return the card of a model in a folder called `name`.

    `about` is the content of `metrics.json`: run, base_model, label_column, datasets, mixture, config,
    versions, metrics of the checkpoint, history of validations; missing values are left out. Only the samples
    of the last validation are shown.
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
    history = about.get("history", [])
    training = [
        make_table(("setting", "value"), [(key, str(value)) for key, value in settings.items()]),
        make_table(("package", "version"), about.get("versions", {}).items()),
    ]
    card = ModelCard.from_template(
        make_metadata(name, about),
        template_str=TEMPLATE,
        name=name,
        title=escape_markdown(name),
        facts=make_table(("", ""), [(key, str(value)) for key, value in facts.items()]),
        warning=FROM_AI_HUB if about.get("license") == AI_HUB else "",
        metrics=_tabulate_metrics(history[-1]) if history else "",
        lines=f"{history[-1]['lines']:,}" if history else "",
        epoch=history[-1]["epoch"] if history else "",
        samples=_tabulate_samples(samples),
        data=_describe_data(about),
        training=list(filter(None, training)),
    )
    return f"{str(card).rstrip()}\n"


def make_metadata(name: str, about: Mapping[str, Any]) -> ModelCardData:
    """Return the metadata of a card."""
    datasets = [
        dataset for dataset in about.get("datasets", {}) if re.fullmatch(r"[\w-][\w.-]*", dataset, re.A)
    ]
    base_model = str(about["base_model"])
    return ModelCardData(
        language="ko",
        **describe_license(about.get("license")),
        library_name="transformers",
        pipeline_tag="image-to-text",
        tags=["ocr", "trocr", "mathematics"],
        base_model=base_model if _is_hub_id(base_model) else None,
        datasets=datasets or None,
        metrics=list(HUB_METRICS.values()),
        model_name=name,
        eval_results=_list_results(about.get("history", [])) or None,
    )


def _is_hub_id(model: str) -> bool:
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", model)) and not Path(model).exists()


def _list_results(history: Sequence[Mapping[str, Any]]) -> list[EvalResult]:
    """Return CER and WER of the last validation on each dataset."""
    if not history:
        return []
    return [
        EvalResult(
            task_type="image-to-text",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split="validation",
            metric_type=metric,
            metric_name=COLUMNS[key],
            metric_value=history[-1][f"{dataset}/{key}"],
        )
        for dataset in _list_datasets(history[-1])
        for key, metric in HUB_METRICS.items()
        if f"{dataset}/{key}" in history[-1]
    ]


def _list_datasets(record: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(key.rpartition("/")[0] for key in record if "/validation_" in key))


def _tabulate_metrics(record: Mapping[str, Any]) -> str:
    """Return a table of the metrics of a validation, over all lines and by dataset."""
    columns = [key for key in COLUMNS if key in record]
    rows = [
        (
            dataset or "all",
            *(_format(key, record.get(f"{dataset}/{key}" if dataset else key)) for key in columns),
        )
        for dataset in ["", *_list_datasets(record)]
    ]
    return make_table(("validation lines of", *(COLUMNS[key] for key in columns)), rows)


def _format(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if key.endswith("_lines") else f"{value:.4f}"


def _tabulate_samples(samples: Sequence[Mapping[str, Any]]) -> str:
    last = max((sample["lines"] for sample in samples), default=0)
    keys = ("dataset", "line_id", "truth", "prediction")
    rows = [[str(sample[key]) for key in keys] for sample in samples if sample["lines"] == last]
    return make_table(("dataset", "line_id", "reference", "prediction"), rows)


def _describe_data(about: Mapping[str, Any]) -> str:
    """Return a table of the datasets with the hashes of their manifests, and the mixture."""
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
    columns = ("dataset", "location", "train lines", "validation lines", "SHA-256 of manifest.json")
    texts = [escape_markdown(about[key]) for key in ("mixture", "mixture_warning") if about.get(key)]
    return "\n\n".join(filter(None, [make_table(columns, rows), *texts]))
