"""One of two ranks: saves the gradients of an epoch's first and last step. Started by test_loop.py."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ocr_ray.storage import locate
from ocr_ray.training.feed import Feed
from ocr_ray.training.loop import compute_gradients, freeze_unused, make_blank_batch
from ocr_ray.training.model import load_model
from ocr_ray.training.splits import open_split


def main(model_folder: str, place: str, out: str, rank: str, *batch_sizes: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/rendezvous", rank=int(rank), world_size=2)
    ocr = load_model(Path(model_folder))
    blank = make_blank_batch(ocr)
    freeze_unused(ocr, blank)
    network = DistributedDataParallel(ocr.network, broadcast_buffers=False)
    split = open_split("lines", locate(place) / "train")
    for batch_size in batch_sizes:
        feed = Feed(splits=(split,), ocr=ocr, batch_size=int(batch_size), rank=int(rank), world_size=2)
        for step, batch in enumerate(feed.batches(0)):
            compute_gradients(network, batch if len(batch) else blank, weight=float(len(batch) > 0))
            if rank == "0" and step in (0, feed.num_batches - 1):
                gradients = {
                    name: parameter.grad
                    for name, parameter in ocr.network.named_parameters()
                    if parameter.grad is not None
                }
                torch.save(gradients, f"{out}/gradients-{batch_size}-{step}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
