"""Ranks of a training as processes, forked from a process that has imported the training loop."""

import multiprocessing
from collections.abc import Callable
from typing import Any

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["ocr_ray.training.loop"])


def run_ranks(target: Callable[..., None], *args: Any, world_size: int) -> list[int | None]:
    """Call `target(*args, rank, world_size)` for all ranks in parallel; return their exit codes."""
    ranks = [
        _processes.Process(target=target, args=(*args, rank, world_size), daemon=True)
        for rank in range(world_size)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=300)
    return [rank.exitcode for rank in ranks]
