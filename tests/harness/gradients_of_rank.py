"""One of two ranks: saves the gradients of the first and the last step of an epoch.

For training/test_loop.py.
"""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.precision import make_optimizer, make_scaler
from ocr_ray.storage.location import Location
from ocr_ray.training.checkpoint import Training
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import LineLoader
from ocr_ray.training.data.row_groups import open_split
from ocr_ray.training.fixed_shapes import FixedShapeLosses
from ocr_ray.training.setup import distribute
from ocr_ray.training.steps import compute_gradients, freeze_unused, make_blank_batch

FIXED_BATCH_SIZE = 6
"""Of the lines of a rank; also those of the blank batch are filled up to it."""


def save_gradients(
    model_folder: Path, dataset: Location, out: Path, batch_sizes: tuple[int, ...], rank: int, world_size: int
) -> None:
    """Write them for each batch size, and for `FixedShapeLosses` as `gradients-fixed-…`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/rendezvous", rank=rank, world_size=world_size)
    split = open_split("lines", dataset / "train")
    training = _make_training(load_model(model_folder), rank, world_size)
    network: Any = DistributedDataParallel(training.ocr.network, broadcast_buffers=False)
    loaders = {
        name: LineLoader(splits=(split,), ocr=training.ocr, batch_size=size, rank=rank, world_size=world_size)
        for name, size in {**{str(size): size for size in batch_sizes}, "fixed": FIXED_BATCH_SIZE}.items()
    }
    for name, loader in loaders.items():
        if name == "fixed":
            training = _make_training(load_model(model_folder), rank, world_size)
            losses = FixedShapeLosses(
                training.ocr,
                "fp32",
                batch_size=FIXED_BATCH_SIZE,
                label_sizes=[8, 16, 32, 64],
                is_compiled=False,
            )
            for weight in losses.weights:
                weight.grad = torch.zeros_like(weight)
            network = distribute(losses, training, TrainConfig(batch_size=FIXED_BATCH_SIZE)).eval()
        _save(network, training, loader, f"{out}/gradients-{name}")
    dist.destroy_process_group()


def _make_training(ocr: OcrModel, rank: int, world_size: int) -> Training:
    freeze_unused(ocr, make_blank_batch(ocr))
    optimizer = make_optimizer(ocr.network.parameters(), lr=1e-3)
    return Training(
        ocr=ocr,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
        scaler=make_scaler("fp32", torch.device("cpu")),
        rank=rank,
        world_size=world_size,
    )


def _save(network: Any, training: Training, loader: LineLoader, prefix: str) -> None:
    blank = make_blank_batch(training.ocr)
    for number, step in enumerate(loader.steps(0)):
        compute_gradients(network, training, step, blank=blank, config=TrainConfig())
        if training.rank == 0 and number in (0, loader.num_steps - 1):
            gradients = {
                name: parameter.grad
                for name, parameter in training.ocr.network.named_parameters()
                if parameter.grad is not None
            }
            torch.save(gradients, f"{prefix}-{number}.pt")
