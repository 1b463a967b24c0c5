"""One of two ranks: saves the gradients of the first and the last step of an epoch.

For training/test_loop.py.
"""

from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ocr_ray.model.load import load_model
from ocr_ray.model.precision import make_optimizer, make_scaler
from ocr_ray.storage.location import Location
from ocr_ray.training.checkpoint import Training
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import LineLoader
from ocr_ray.training.data.row_groups import open_split
from ocr_ray.training.steps import compute_gradients, freeze_unused, make_blank_batch


def save_gradients(
    model_folder: Path, dataset: Location, out: Path, batch_sizes: tuple[int, ...], rank: int, world_size: int
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/rendezvous", rank=rank, world_size=world_size)
    ocr = load_model(model_folder)
    blank = make_blank_batch(ocr)
    freeze_unused(ocr, blank)
    optimizer = make_optimizer(ocr.network.parameters(), lr=1e-3)
    training = Training(
        ocr=ocr,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
        scaler=make_scaler("fp32", torch.device("cpu")),
        rank=rank,
        world_size=world_size,
    )
    network = DistributedDataParallel(ocr.network, broadcast_buffers=False)
    split = open_split("lines", dataset / "train")
    for batch_size in batch_sizes:
        loader = LineLoader(splits=(split,), ocr=ocr, batch_size=batch_size, rank=rank, world_size=world_size)
        for number, step in enumerate(loader.steps(0)):
            compute_gradients(network, training, step, blank=blank, config=TrainConfig())
            if rank == 0 and number in (0, loader.num_steps - 1):
                gradients = {
                    name: parameter.grad
                    for name, parameter in ocr.network.named_parameters()
                    if parameter.grad is not None
                }
                torch.save(gradients, f"{out}/gradients-{batch_size}-{number}.pt")
    dist.destroy_process_group()
