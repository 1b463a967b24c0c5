"""Model input from images: resized on the host to 8-bit grey levels, converted to floats on the device.

The result is bit for bit that of the model's image processor for the images in RGB. If the processor only
resizes, rescales and normalises, one grey channel is resized instead of three, and a pixel takes one byte on
its way to the device instead of twelve. There (level / 255 - mean) / std is computed if that gives the
processor's floats for all 256 levels; otherwise they are looked up.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image


class HasImageProcessor(Protocol):
    """What the pixels of a model depend on."""

    @property
    def image_processor(self) -> Any: ...


def make_pixel_values(ocr: HasImageProcessor, images: Sequence[bytes]) -> torch.Tensor:
    """Return encoded images as the model's input, shape (N, 3, H, W), float32, on the CPU."""
    decoded = [Image.open(io.BytesIO(image)) for image in images]
    return to_pixel_values(ocr, make_pixels(ocr, decoded), torch.device("cpu"))


def make_pixels(ocr: HasImageProcessor, images: Sequence[Image.Image]) -> torch.Tensor:
    """Return images in the form that `to_pixel_values` takes.

    Grey levels in the model's size, shape (N, H, W), uint8. If the processor does more than resize, rescale
    and normalise, or an image is not in mode L: the processor's output for the images in RGB, shape (N, 3, H,
    W), float32. (It would take the height of an (H, W) array for channels.)
    """
    processor = ocr.image_processor
    if not images:
        return torch.zeros(0, 1, 1, dtype=torch.uint8)
    if not _maps_levels(processor) or any(image.mode != "L" for image in images):
        return _process([image.convert("RGB") for image in images], processor)
    size = (processor.size["width"], processor.size["height"])
    pixels = np.empty((len(images), size[1], size[0]), dtype=np.uint8)
    for index, image in enumerate(images):
        pixels[index] = image if image.size == size else image.resize(size, processor.resample)
    return torch.from_numpy(pixels)


def to_pixel_values(ocr: HasImageProcessor, pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the output of `make_pixels` as the model's input on a device, shape (N, 3, H, W), float32.

    Equal channels share their memory, so the result must not be changed in place.
    """
    on_device = pixels.to(device, non_blocking=True)
    if on_device.dtype != torch.uint8:
        return on_device
    levels = _find_levels(ocr.image_processor, device)
    if levels.is_linear:
        values = _scale(on_device[:, None], levels)
    else:
        index = on_device.reshape(-1).int()
        values = torch.stack([table.index_select(0, index).view_as(on_device) for table in levels.table], 1)
    return values.expand(-1, 3, -1, -1)


@dataclass(frozen=True, slots=True)
class _Levels:
    """The processor's floats for the 256 grey levels; a single channel if all three are the same."""

    table: torch.Tensor
    """Shape (channels, 256), float32."""
    mean: torch.Tensor
    """Shape (channels, 1, 1), float32; so is `std`."""
    std: torch.Tensor
    is_linear: bool
    """Whether `_scale` computes exactly the table."""


@lru_cache(maxsize=16)
def _find_levels(processor: Any, device: torch.device) -> _Levels:
    image = Image.frombytes("L", (256, 1), bytes(range(256))).convert("RGB")
    table = _process([image], processor, do_resize=False)[0, :, 0, :].to(device)
    channels = 1 if torch.equal(table, table[:1].expand_as(table)) else len(table)
    levels = _Levels(
        table[:channels].contiguous(),
        torch.tensor(processor.image_mean, device=device)[:channels, None, None],
        torch.tensor(processor.image_std, device=device)[:channels, None, None],
        is_linear=False,
    )
    all_levels = torch.arange(256, dtype=torch.uint8, device=device)[None, None, None]
    is_linear = torch.equal(_scale(all_levels, levels)[0, :, 0], levels.table)
    return _Levels(levels.table, levels.mean, levels.std, is_linear)


def _scale(pixels: torch.Tensor, levels: _Levels) -> torch.Tensor:
    """Return grey levels of shape (N, 1, H, W) as (N, channels, H, W)."""
    return pixels.float().div_(255).sub(levels.mean).div_(levels.std)


def _maps_levels(processor: Any) -> bool:
    """Return whether the processor only resizes to a fixed size and maps each pixel on its own."""
    known = type(processor).__name__ in ("DeiTImageProcessorPil", "ViTImageProcessorPil")
    crops_or_pads = getattr(processor, "do_center_crop", None) or getattr(processor, "do_pad", None)
    size = processor.size
    return bool(
        known and processor.do_resize and not crops_or_pads and size.get("height") and size.get("width")
    )


def _process(images: Sequence[Image.Image], processor: Any, **options: Any) -> torch.Tensor:
    pixel_values: torch.Tensor = processor(images=images, return_tensors="pt", **options)["pixel_values"]
    return pixel_values
