"""What a run begins with, checked before any work: its model, and labels that the model can write."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.manifest import read_digests
from ocr_ray.model.load import OcrModel, load_model, model_files
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.storage.location import Location, exists, list_files, locate_model, open_file
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.feed.row_groups import LineDataset
from ocr_ray.training.label_check import LabelKey, LabelLengths, check_labels, hash_tokenizer, recall_labels
from ocr_ray.training.setup import open_splits

log = logging.getLogger(__name__)

TINY = "tiny"
TOKENIZER_LINES = 20_000
"""Texts that the tiny model's tokenizer is trained on, at most."""


def check_all_labels(
    folder: Path, datasets: Sequence[LineDataset], config: TrainConfig, remembered: Location
) -> dict[tuple[str, str], tuple[LabelKey, LabelLengths]]:
    """Refuse a model that does not load or labels that it cannot write, before hours of training meet them.

    Return the key and the tokens of each line of each split, by split and dataset: found now, or remembered
    from an earlier start.
    """
    ocr, tokenizer = load_model(folder), hash_tokenizer(folder)
    digests = read_digests({dataset.name: dataset.place for dataset in datasets})
    labels = {}
    for split_name, splits in zip(("train", "validation"), open_splits(datasets), strict=True):
        for split in splits:
            key = LabelKey(
                dataset_digest=digests[split.name].get(split_name, ""),
                tokenizer_sha256=tokenizer,
                label_column=config.label_column,
                max_tokens=ocr.max_target_tokens,
            )
            lengths = recall_labels(remembered, key)
            if lengths is None:
                log.info("%s: checking the labels of %d lines", split.name, split.num_lines)
                lengths = check_labels(ocr, split, config.label_column)
            labels[split_name, split.name] = key, lengths
    _warn_of_long(max((int(found.max(initial=0)) for _, found in labels.values()), default=0), ocr)
    return labels


def _warn_of_long(longest: int, ocr: OcrModel) -> None:
    """Say that evaluation would cut the longest labels, where the model's own limit is below them."""
    if longest > ocr.max_generated_tokens:
        log.warning(
            "the longest label has %d tokens, the model's generation stops after %d: raise its max_length",
            longest,
            ocr.max_generated_tokens,
        )


@contextmanager
def first_model(
    source: str, run: Location, datasets: Sequence[LineDataset], config: TrainConfig
) -> Iterator[tuple[Path, Location | str]]:
    """Give the model that training begins with as a local folder, and where workers will find it.

    A tiny one is made from the texts; it comes to lie in the run's folder when training starts.
    """
    tiny = run / "tiny_model"
    if source == TINY and not exists(tiny / "config.json"):
        with tempfile.TemporaryDirectory() as folder:
            write_tiny_model(Path(folder), _read_texts(datasets, config.label_column), config.seed)
            yield Path(folder), tiny
        return
    model = tiny if source == TINY else locate_model(source)
    with model_files(model) as folder:
        yield folder, model


def _read_texts(datasets: Sequence[LineDataset], label_column: LabelColumn) -> list[str]:
    texts: list[str] = []
    for folder in (dataset.place / "train" for dataset in datasets):
        for name in list_files(folder):
            if len(texts) < TOKENIZER_LINES and name.endswith(".parquet"):
                with open_file(folder / name) as file:
                    texts += pq.read_table(file, columns=[label_column])[label_column].to_pylist()
    return texts[:TOKENIZER_LINES]
