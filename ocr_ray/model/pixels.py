"""Model input from images: resized on the host to 8-bit grey levels, converted to floats on the device.

The result is bit for bit that of the model's image processor for the images in RGB. If the processor only
resizes, rescales and normalises, one grey channel is resized instead of three, and a pixel takes one byte on
its way to the device instead of twelve. There (level / 255 - mean) / std is computed if that gives the
processor's floats for all 256 levels; otherwise they are looked up.

The same holds for a processor that keeps the aspect ratio (a size of `max_height` and `max_width`) and pads
at the right and the bottom, if a grey level has the floats of the padding, which are 0: white, for instance,
with a mean of 1.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from ocr_ray.dataset.images import MAX_LINE_PIXELS, SQUARE_SIZE_PX, open_line_image
from ocr_ray.dataset.manifest import read_manifest
from ocr_ray.errors import InputError
from ocr_ray.storage.location import Location


class HasImageProcessor(Protocol):
    """What the pixels of a model depend on."""

    @property
    def image_processor(self) -> Any: ...


def make_pixel_values(ocr: HasImageProcessor, images: Sequence[bytes]) -> torch.Tensor:
    """Return encoded images as the model's input, shape (N, 3, H, W), float32, on the CPU."""
    decoded = (open_line_image(image, f"line {number}") for number, image in enumerate(images))
    return to_pixel_values(ocr, make_pixels(ocr, decoded), torch.device("cpu"))


def make_pixels(ocr: HasImageProcessor, images: Iterable[Image.Image]) -> torch.Tensor:
    """Return images in the form that `to_pixel_values` takes.

    Grey levels in the model's size, shape (N, H, W), uint8. If the processor does more than resize, rescale
    and normalise, or an image is not in mode L: the processor's output for the images in RGB, shape (N, 3, H,
    W), float32. (It would take the height of an (H, W) array for channels.)

    Images are taken one after another, and those of `MAX_LINE_PIXELS` together are held at once.
    """
    processor = ocr.image_processor
    maps_levels = _maps_levels(processor)
    parts = []
    for is_grey, group in groupby(images, key=lambda image: maps_levels and image.mode == "L"):
        if is_grey:
            parts.append(_resize_grey(group, processor))
        else:
            parts += [_process([image.convert("RGB") for image in some], processor) for some in _cut(group)]
    if len({part.dtype for part in parts}) > 1:
        parts = [to_pixel_values(ocr, part, torch.device("cpu")) for part in parts]
    return torch.cat(parts) if parts else torch.zeros(0, 1, 1, dtype=torch.uint8)


def _resize_grey(images: Iterable[Image.Image], processor: Any) -> torch.Tensor:
    if not processor.size.get("max_height"):
        size = (processor.size["width"], processor.size["height"])
        resized = (_resize(image, size, processor) for image in images)
        return torch.from_numpy(np.stack([np.asarray(image) for image in resized]))
    padded = []
    for image in images:
        shape = processor.pad_size["height"], processor.pad_size["width"]
        pixels = np.full(shape, _find_padding_level(processor), np.uint8)
        resized_image = _resize(image, _keep_aspect(image.size, processor.size), processor)
        pixels[: resized_image.height, : resized_image.width] = resized_image
        padded.append(pixels)
    return torch.from_numpy(np.stack(padded))


def _resize(image: Image.Image, size: tuple[int, int], processor: Any) -> Image.Image:
    return image if image.size == size else image.resize(size, processor.resample)


def _keep_aspect(size: tuple[int, int], limits: Any) -> tuple[int, int]:
    """Return the largest width and height of the same ratio within the limits, as transformers rounds them.

    At least one pixel each, where transformers fails.
    """
    width, height = size
    scale = min(limits["max_height"] / height, limits["max_width"] / width)
    return max(1, int(width * scale)), max(1, int(height * scale))


def _cut(images: Iterable[Image.Image]) -> Iterator[list[Image.Image]]:
    """Yield the images in lists of at most `MAX_LINE_PIXELS`, or of a single image."""
    group: list[Image.Image] = []
    num_pixels = 0
    for image in images:
        num_pixels += image.width * image.height
        if group and num_pixels > MAX_LINE_PIXELS:
            yield group
            group, num_pixels = [], image.width * image.height
        group.append(image)
    if group:
        yield group


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
    table = _process([image], processor, do_resize=False, do_pad=False)[0, :, 0, :].to(device)
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
    """Return whether the processor only resizes, maps each pixel on its own, and pads with a grey level."""
    known = type(processor).__name__ in ("DeiTImageProcessorPil", "ViTImageProcessorPil")
    if not known or not processor.do_resize or getattr(processor, "do_center_crop", None):
        return False
    size, padded = processor.size, getattr(processor, "pad_size", None) or {}
    if not getattr(processor, "do_pad", None):
        return bool(size.get("height") and size.get("width"))
    fits = all(0 < (size.get(f"max_{side}") or 0) <= (padded.get(side) or 0) for side in ("height", "width"))
    return fits and _find_padding_level(processor) is not None


def check_stored_images(ocr: HasImageProcessor, datasets: Iterable[Location]) -> None:
    """Check that lines are not stored as squares, if a model keeps their aspect ratio.

    Raises:
        InputError: they are; the message names the dataset.
    """
    if not ocr.image_processor.size.get("max_height"):
        return
    for dataset in datasets:
        image = read_manifest(dataset).config.get("image")
        if isinstance(image, dict) and image.get("size") == str(SQUARE_SIZE_PX):
            raise InputError(
                f"images must keep the aspect ratio of their lines for this model, those of {dataset} are "
                f"squares of {SQUARE_SIZE_PX} px: make the dataset again with --image.size native"
            )


def _find_padding_level(processor: Any) -> int | None:
    """Return the grey level whose float is that of the padding, 0, in all channels."""
    table = _find_levels(processor, torch.device("cpu")).table
    levels = (table == 0).all(0).nonzero()[:, 0].tolist()
    return levels[0] if levels else None


def _process(images: Sequence[Image.Image], processor: Any, **options: Any) -> torch.Tensor:
    pixel_values: torch.Tensor = processor(images=images, return_tensors="pt", **options)["pixel_values"]
    return pixel_values
