"""What a run needs before its first step: model, checked labels, splits, optimizer, data loaders."""

import logging
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.dataset.manifest import read_digests
from ocr_ray.dataset.stored_rows import iter_groups
from ocr_ray.errors import InputError
from ocr_ray.model.load import OcrModel, load_model, model_files
from ocr_ray.model.pixels import check_stored_images
from ocr_ray.model.precision import make_optimizer, make_scaler, set_deterministic, set_tf32
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.randomness import keyed_generator
from ocr_ray.storage.location import Location, exists, list_files, locate_model
from ocr_ray.training.base_model import read_model
from ocr_ray.training.checkpoint import Training, name_file
from ocr_ray.training.config import CPU_LOADER_THREADS, TINY, TrainConfig
from ocr_ray.training.data.augment import Augmenter
from ocr_ray.training.data.label_check import (
    LabelKey,
    LabelLengths,
    check_labels,
    hash_tokenizer,
    load_lengths,
)
from ocr_ray.training.data.loader import LineLoader
from ocr_ray.training.data.row_groups import LineDataset, Split, open_split
from ocr_ray.training.fixed_shapes import choose_sizes, fix_shapes
from ocr_ray.training.steps import freeze_unused, make_blank_batch, sum_losses

log = logging.getLogger(__name__)

TOKENIZER_LINES = 20_000
"""The most texts that the tokenizer of the tiny model is trained on."""
BUCKETS = 4
"""Pieces in which ranks exchange the gradients of a model of up to 100 MB, most of them during the backward
pass; larger models have more, of PyTorch's 25 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainData:
    """The datasets to train on and to validate with."""

    datasets: tuple[LineDataset, ...]
    mixture_weights: Mapping[str, float] | None = None
    """Each dataset's share of the lines trained on; None: every line once an epoch."""
    lengths: Mapping[str, LabelLengths] | None = None
    """The number of tokens of each line of each train split; None: `check_labels` counts them."""


@contextmanager
def first_model(
    source: str, run: Location, datasets: Sequence[LineDataset], config: TrainConfig
) -> Iterator[tuple[Path, Location | str]]:
    """Provide the model that training starts from: a local folder, and the source that workers load it from.

    A tiny model is made from the texts; the job copies it into the run's folder when training starts. A model
    of the hub is that of the commit with which the run began, on every node.
    """
    tiny = run / "tiny_model"
    if source == TINY and not exists(tiny / "config.json"):
        with tempfile.TemporaryDirectory(prefix="ocr_ray-tiny-") as folder:
            with name_file(Path(folder)):
                write_tiny_model(Path(folder), _read_texts(datasets, config.label_column), config.seed)
            yield Path(folder), tiny
        return
    model = tiny if source == TINY else locate_model(source)
    if isinstance(model, str) and (commit := read_model(run).get("commit")):
        model = f"{model}@{commit}"
    with model_files(model) as folder:
        yield folder, f"{source}@{folder.name}" if isinstance(model, str) else model


def _read_texts(datasets: Sequence[LineDataset], label_column: LabelColumn) -> list[str]:
    texts: list[str] = []
    for folder in (dataset.folder / "train" for dataset in datasets):
        for name in list_files(folder):
            if len(texts) < TOKENIZER_LINES and name.endswith(".parquet"):
                for table in iter_groups(folder / name, [label_column]):
                    texts += table[label_column].to_pylist()
    return texts[:TOKENIZER_LINES]


def check_all_labels(
    model_folder: Path, datasets: Sequence[LineDataset], config: TrainConfig, cache: Location
) -> dict[tuple[str, str], tuple[LabelKey, LabelLengths]]:
    """Check before training that the model loads and can write every label.

    Return the key and the number of tokens of each line of each split, by split and dataset. Lengths that an
    earlier start of the run left in `cache` are not computed again.

    Raises:
        InputError: the model does not load, cannot read images as they are stored, or a label has too many
            tokens or does not survive the tokenizer.
    """
    ocr, tokenizer = load_model(model_folder), hash_tokenizer(model_folder)
    check_stored_images(ocr, [dataset.folder for dataset in datasets])
    digests = read_digests({dataset.name: dataset.folder for dataset in datasets})
    labels = {}
    for split_name, splits in zip(("train", "validation"), open_splits(datasets), strict=True):
        for split in splits:
            key = LabelKey(
                dataset_digest=digests[split.name].get(split_name, ""),
                tokenizer_sha256=tokenizer,
                label_column=config.label_column,
                max_tokens=ocr.max_target_tokens,
            )
            lengths = load_lengths(cache, key)
            if lengths is None:
                log.info("%s: checking the labels of %d lines", split.name, split.num_lines)
                lengths = check_labels(ocr, split, config.label_column)
            labels[split_name, split.name] = key, lengths
    _warn_of_long_labels(max((int(lengths.max(initial=0)) for _, lengths in labels.values()), default=0), ocr)
    return labels


def _warn_of_long_labels(longest: int, ocr: OcrModel) -> None:
    """Warn if the model's generation limit would cut the longest label in evaluation."""
    if longest > ocr.max_generated_tokens:
        log.warning(
            "the longest label has %d tokens, the model's generation stops after %d: raise its max_length",
            longest,
            ocr.max_generated_tokens,
        )


def open_splits(datasets: Sequence[LineDataset]) -> tuple[list[Split], list[Split]]:
    """Return the train and the validation splits.

    Raises:
        InputError: all train or all validation splits are empty, or two datasets share a name.
    """
    names = [dataset.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise InputError(f"datasets must have different names, got {', '.join(names)}")
    opened = {}
    for name in ("train", "validation"):
        opened[name] = [open_split(dataset.name, dataset.folder / name) for dataset in datasets]
        if not any(split.num_lines for split in opened[name]):
            folders = ", ".join(str(dataset.folder / name) for dataset in datasets)
            raise InputError(
                f"the {name} split must have at least one line, there is none in {folders}; name a dataset "
                "that has one in --lines-uri as well, or make one with a larger or smaller --validation-share"
            )
    return opened["train"], opened["validation"]


def prepare(ocr: OcrModel, config: TrainConfig) -> Training:
    """Seed the generators, freeze unused parameters, and return model, optimizer and scheduler of a rank."""
    rank, world_size = _find_rank()
    set_tf32(config.number_format)
    set_deterministic(config.deterministic)
    _seed_generators(config.seed, rank)
    freeze_unused(ocr, make_blank_batch(ocr))
    optimizer = make_optimizer([p for p in ocr.network.parameters() if p.requires_grad], lr=config.lr)
    return Training(
        ocr=ocr,
        optimizer=optimizer,
        scheduler=ReduceLROnPlateau(optimizer, factor=config.lr_factor, patience=config.lr_patience),
        scaler=make_scaler(config.number_format, ocr.device),
        rank=rank,
        world_size=world_size,
    )


def _find_rank() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _seed_generators(seed: int, rank: int) -> None:
    """Seed the three global generators; dropout uses PyTorch's."""
    for_torch, for_numpy, for_python = (
        keyed_generator(seed, "training", rank).integers(2**32, size=3).tolist()
    )
    torch.manual_seed(for_torch)
    np.random.seed(for_numpy)
    random.seed(for_python)


def make_train_loader(
    training: Training, data: TrainData, config: TrainConfig, splits: Sequence[Split]
) -> LineLoader:
    """Return the loader of this rank's training lines."""
    lengths = data.lengths
    if config.batch_by_length and lengths is None:
        lengths = {split.name: check_labels(training.ocr, split, config.label_column) for split in splits}
    return LineLoader(
        splits=tuple(splits),
        ocr=training.ocr,
        batch_size=config.lines_per_batch,
        global_batch_size=config.count_global(training.world_size),
        rank=training.rank,
        world_size=training.world_size,
        seed=config.seed,
        label_column=config.label_column,
        mixture_weights=data.mixture_weights,
        lines_per_epoch=config.lines_per_epoch,
        lengths=lengths if config.batch_by_length else None,
        augment=Augmenter(seed=config.seed) if config.augment else None,
        threads=config.loader_threads or CPU_LOADER_THREADS,
    )


def make_network(training: Training, config: TrainConfig, data: TrainData) -> torch.nn.Module:
    """Return what `compute_gradients` calls: the network or its compiled losses, in DDP for several ranks.

    Call it before the data loader starts threads, and compile before DDP is around the network, see
    https://docs.pytorch.org/docs/stable/notes/cuda.html#partial-network-capture
    """
    ocr = training.ocr
    lengths = None if data.lengths is None else data.lengths.values()
    sizes = choose_sizes(lengths, ocr.max_target_tokens)
    network: torch.nn.Module = ocr.network
    if losses := fix_shapes(ocr, config, sizes, partial(_sum_uncompiled, ocr, config)):
        network = losses
    return distribute(network, training, config)


def distribute(network: torch.nn.Module, training: Training, config: TrainConfig) -> torch.nn.Module:
    """Return the network in DDP, or as it is if there is one rank."""
    if training.world_size == 1:
        return network
    size_mb = sum(weight.nbytes for weight in network.parameters()) / 2**20
    return DistributedDataParallel(
        network,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        bucket_cap_mb=min(25.0, max(1.0, size_mb / BUCKETS)),
        # Not with gradient accumulation: passes without an exchange are not those of the first step.
        static_graph=config.count_global(training.world_size) == config.lines_per_batch * training.world_size,
    )


def _sum_uncompiled(
    ocr: OcrModel, config: TrainConfig, pixels: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    return sum_losses(ocr.network, ocr, (pixels, labels), config)


def make_validation_loader(training: Training, config: TrainConfig, split: Split) -> LineLoader:
    """Return the loader of this rank's validation lines of one dataset."""
    return LineLoader(
        splits=(split,),
        ocr=training.ocr,
        batch_size=config.lines_per_batch,
        rank=training.rank,
        world_size=training.world_size,
        label_column=config.label_column,
        threads=config.loader_threads or CPU_LOADER_THREADS,
    )
