"""What training begins with: splits, feeds, optimizer, seeded generators."""

import logging
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.manifest import read_digests
from ocr_ray.errors import InputError
from ocr_ray.model.load import OcrModel, load_model, model_files
from ocr_ray.model.precision import make_optimizer, make_scaler, set_tf32
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import Location, exists, list_files, locate_model, open_file
from ocr_ray.training.augment import Augmenter
from ocr_ray.training.checkpoint import Training
from ocr_ray.training.config import TINY, TrainConfig
from ocr_ray.training.feed.batches import Feed
from ocr_ray.training.feed.row_groups import LineDataset, Split, open_split
from ocr_ray.training.label_check import LabelKey, LabelLengths, check_labels, hash_tokenizer, recall_labels
from ocr_ray.training.steps import freeze_unused, make_blank_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainData:
    """What is trained on and validated with."""

    datasets: tuple[LineDataset, ...]
    shares: Mapping[str, float] | None = None
    """Each dataset's share of the lines trained on; None: every line once an epoch."""
    lengths: Mapping[str, LabelLengths] | None = None
    """The tokens of each line of each train split, as `check_labels` gives them; None: it is called."""


def open_splits(datasets: Sequence[LineDataset]) -> tuple[list[Split], list[Split]]:
    """Return the train and the validation splits.

    Raises:
        InputError: all the train or all the validation splits are empty, or two datasets share a name.
    """
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise InputError(f"datasets must have different names, got {', '.join(names)}")
    opened = {}
    for split in ("train", "validation"):
        opened[split] = [open_split(dataset.name, dataset.place / split) for dataset in datasets]
        if not any(part.num_lines for part in opened[split]):
            places = ", ".join(str(dataset.place / split) for dataset in datasets)
            raise InputError(f"the {split} split must have at least one line, there is none in {places}")
    return opened["train"], opened["validation"]


def prepare(ocr: OcrModel, config: TrainConfig) -> Training:
    """Seed the generators and return what this rank trains with; the model's unused parameters are frozen."""
    rank, world_size = _find_rank()
    set_tf32(config.precision)
    _seed_generators(config.seed, rank)
    freeze_unused(ocr, make_blank_batch(ocr))
    optimizer = make_optimizer([p for p in ocr.network.parameters() if p.requires_grad], lr=config.lr)
    return Training(
        ocr=ocr,
        optimizer=optimizer,
        scheduler=ReduceLROnPlateau(optimizer, factor=config.lr_factor, patience=config.lr_patience),
        scaler=make_scaler(config.precision, ocr.device),
        rank=rank,
        world_size=world_size,
    )


def _find_rank() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _seed_generators(seed: int, rank: int) -> None:
    """Seed the three global generators; dropout draws from torch's."""
    for_torch, for_numpy, for_python = (
        keyed_generator(seed, "training", rank).integers(2**32, size=3).tolist()
    )
    torch.manual_seed(for_torch)
    np.random.seed(for_numpy)
    random.seed(for_python)


def make_feed(training: Training, data: TrainData, config: TrainConfig, splits: Sequence[Split]) -> Feed:
    """Return what this rank trains on."""
    lengths = data.lengths
    if config.batch_by_length and lengths is None:
        lengths = {split.name: check_labels(training.ocr, split, config.label_column) for split in splits}
    return Feed(
        splits=tuple(splits),
        ocr=training.ocr,
        batch_size=config.batch_size,
        global_batch_size=config.count_global(training.world_size),
        rank=training.rank,
        world_size=training.world_size,
        seed=config.seed,
        label_column=config.label_column,
        shares=data.shares,
        lengths=lengths if config.batch_by_length else None,
        augment=Augmenter(seed=config.seed) if config.augment else None,
        threads=config.feed_threads,
    )


def make_validation_feed(training: Training, config: TrainConfig, split: Split) -> Feed:
    """Return what this rank validates with, of one dataset."""
    return Feed(
        splits=(split,),
        ocr=training.ocr,
        batch_size=config.batch_size,
        rank=training.rank,
        world_size=training.world_size,
        label_column=config.label_column,
        threads=config.feed_threads,
    )


log = logging.getLogger(__name__)

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
