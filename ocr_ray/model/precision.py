"""Mixed precision and the optimizer; weights stay float32."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ocr_ray.errors import InputError
from ocr_ray.model.options import BF16_CAPABILITY, Capability, Precision

_AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: Precision, device: torch.device, capability: Capability | None = None) -> None:
    """Check that a device supports a precision.

    `capability` is that of a GPU of another machine; without it a GPU that this process cannot reach passes.

    Raises:
        InputError: it does not, or only by emulation, which is slower than fp32.
    """
    if device.type == "cpu" and precision in ("tf32", "fp16"):
        raise InputError(f"--precision {precision} needs a GPU (--use-gpu); on a CPU use fp32 or bf16")
    if device.type == "cpu" and precision == "bf16" and not _cpu_has_bf16():
        raise InputError("--precision bf16 needs a CPU with AVX-512 or similar, this one has not: use fp32")
    if device.type != "cuda" or precision not in ("tf32", "bf16"):
        return
    capability = capability or read_capability(device)
    if capability is not None and capability < BF16_CAPABILITY:
        raise InputError(
            f"--precision {precision} needs an NVIDIA GPU of compute capability 8.0 or more, "
            f"this one has {capability[0]}.{capability[1]}: use fp16 or fp32"
        )


def read_capability(device: torch.device) -> Capability | None:
    """Return the compute capability of a GPU of this process; None for a CPU and where there is no GPU."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_capability(device)


def find_capability(call_on_gpu: Callable[..., Any]) -> Capability:
    """Return the compute capability of this process's GPU, or of the one where `call_on_gpu` calls.

    Raises:
        InputError: PyTorch finds no GPU there.
    """
    device = torch.device("cuda")
    capability: Capability | None = read_capability(device) or call_on_gpu(read_capability, device)
    if capability is None:
        raise InputError("--use-gpu needs a build of torch for NVIDIA GPUs on the nodes with GPUs")
    return capability


def _cpu_has_bf16() -> bool:
    is_available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def set_tf32(precision: Precision) -> None:
    """Turn TF32 for float32 matrix products and convolutions on GPUs on or off, for the whole process.

    On a GPU it is off for fp32 alone: what bf16 and fp16 leave in float32 needs no more bits than TF32 has.
    PyTorch's default is TF32 for convolutions but not for matrix products: fp32 would not be true fp32.
    """
    is_on = precision == "tf32" or (precision != "fp32" and torch.cuda.is_available())
    torch.set_float32_matmul_precision("high" if is_on else "highest")
    torch.backends.cudnn.allow_tf32 = is_on


def set_deterministic(is_on: bool) -> None:
    """Allow only operations that give the same bits in every run, or any, for the whole process.

    Call it before the first matrix product on a GPU, when cuBLAS reads its variable. PyTorch then takes the
    deterministic form of flash and memory-efficient attention, and cuDNN's attention, which has none, not at
    all: https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if is_on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = is_on
    torch.use_deterministic_algorithms(is_on)


def autocast(precision: Precision, device: torch.device, *, is_cached: bool = True) -> torch.autocast:
    """Return a context for one forward pass; the backward pass runs outside of it.

    In it, linear layers and attention run in bf16 or fp16; for fp32 and tf32 it does nothing. A weight is
    converted once in a pass and kept until its end; without `is_cached`, which CUDA graphs need, at each use.
    """
    dtype = _AUTOCAST_TYPES.get(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None, cache_enabled=is_cached)


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return a scaler that keeps fp16 gradients from underflowing and skips steps that overflow.

    For other precisions it does nothing. Its state belongs in checkpoints.

    Raises:
        InputError: the device does not support this precision.
    """
    check_precision(precision, device)
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def make_optimizer(
    parameters: Iterable[torch.nn.Parameter], *, lr: float, weight_decay: float = 0.0
) -> torch.optim.Adam:
    """Return Adam over the parameters, fused if all of them are on CPUs or NVIDIA GPUs.

    A fused step passes over the memory once: 44 ms instead of 163 ms for 55 million weights on one CPU
    thread. It equals the unfused one up to rounding and is deterministic.
    """
    chosen = list(parameters)
    is_fused = all(parameter.device.type in ("cpu", "cuda") for parameter in chosen)
    return torch.optim.Adam(chosen, lr=lr, weight_decay=weight_decay, fused=is_fused or None)


def clip_gradients(
    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, max_norm: float
) -> torch.Tensor:
    """Clip the global gradient norm to `max_norm`; return the norm before clipping.

    Call it once a step, after the last backward pass; it unscales the gradients first. The norm is not finite
    if fp16 overflowed; `scaler.step` then skips the step.
    """
    scaler.unscale_(optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return torch.nn.utils.clip_grad_norm_(parameters, max_norm)
