"""Calling a function where a GPU is."""

from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def call_on_gpu(function: Callable[..., Result], *arguments: Any) -> Result:
    """Return what a function returns in a process of the cluster with a GPU; starts Ray if needed.

    Raises:
        InputError: the cluster can never have a GPU.
    """
    import ray

    from ocr_ray.cluster.capacity import count_workers
    from ocr_ray.cluster.session import ray_session

    with ray_session():
        count_workers(1, use_gpu=True)
        task: Any = ray.remote(num_cpus=1, num_gpus=1)(function)
        result: Result = ray.get(task.remote(*arguments))
    return result
