"""One of two ranks: saves the gradients of an epoch's first and last step. Started by test_loop.py."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ocr_ray.storage import locate
from ocr_ray.training.checkpoint import Training
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.feed import Feed
from ocr_ray.training.model import load_model
from ocr_ray.training.precision import make_optimizer, make_scaler
from ocr_ray.training.splits import open_split
from ocr_ray.training.steps import compute_gradients, freeze_unused, make_blank_batch


def main(model_folder: str, place: str, out: str, rank: str, *batch_sizes: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/rendezvous", rank=int(rank), world_size=2)
    ocr = load_model(Path(model_folder))
    blank = make_blank_batch(ocr)
    freeze_unused(ocr, blank)
    optimizer = make_optimizer(ocr.network.parameters(), lr=1e-3)
    training = Training(
        ocr=ocr,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer),
        scaler=make_scaler("fp32", torch.device("cpu")),
        rank=int(rank),
        world_size=2,
    )
    network = DistributedDataParallel(ocr.network, broadcast_buffers=False)
    split = open_split("lines", locate(place) / "train")
    for batch_size in batch_sizes:
        feed = Feed(splits=(split,), ocr=ocr, batch_size=int(batch_size), rank=int(rank), world_size=2)
        for number, step in enumerate(feed.steps(0)):
            compute_gradients(network, training, step, blank=blank, config=TrainConfig())
            if rank == "0" and number in (0, feed.num_steps - 1):
                gradients = {
                    name: parameter.grad
                    for name, parameter in ocr.network.named_parameters()
                    if parameter.grad is not None
                }
                torch.save(gradients, f"{out}/gradients-{batch_size}-{number}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
