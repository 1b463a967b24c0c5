"""Kernels of separable filters: averages over an area, and Pillow's Gaussian blur."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Kernel = npt.NDArray[np.float64]

_STEPS = 64
"""Kernels are kept for widths in steps of a 64th of a pixel."""
_FAINTEST = 1 / 400
"""What either end of a kernel may lose of its sum of 1; it does not show."""


def area_kernel(width_px: float) -> Kernel:
    """Return the kernel that averages over a width, at least one pixel; its ends count in part."""
    return _area_kernel(round(width_px * _STEPS))


def blur_kernel(radius_px: float, is_reduced: bool) -> Kernel:
    """Return the kernel of a Gaussian, softer where it also stands for Pillow's reduction of a line.

    Three extended boxes, each of a third of the variance, as Pillow blurs: Gwosdek et al. 2011, "Theoretical
    foundations of Gaussian convolution by extended box filtering", equations 8 and 14.
    """
    return _blur_kernel(round(radius_px * _STEPS), is_reduced)


@lru_cache(maxsize=4096)
def _area_kernel(steps: int) -> Kernel:
    width = max(1.0, steps / _STEPS)
    reach = max(0, math.ceil((width - 1) / 2) - 1)
    return _extended_box(reach, (width - 2 * reach - 1) / 2)


@lru_cache(maxsize=4096)
def _blur_kernel(steps: int, is_reduced: bool) -> Kernel:
    variance = (steps / _STEPS) ** 2 / 3
    reach = int((math.sqrt(12 * variance + 1) - 1) / 2)
    end = (2 * reach + 1) * (reach * (reach + 1) - 3 * variance) / (6 * (variance - (reach + 1) ** 2))
    box = _extended_box(reach, end)
    kernel = np.convolve(np.convolve(box, box), box)
    if is_reduced:
        kernel = np.convolve(kernel, [1 / 18, 16 / 18, 1 / 18])
    middle = len(kernel) // 2
    seen = max(1, middle - int(np.searchsorted(np.cumsum(kernel), _FAINTEST)))
    kernel = kernel[middle - seen : middle + seen + 1]
    return np.asarray(kernel / kernel.sum())


def _extended_box(reach: int, end: float) -> Kernel:
    """Return 2 * reach + 1 equal weights with one of `end` times that on either side; their sum is 1.

    Never fewer than three, even if the outer ones are 0: OpenCV has quick ways for three and for five.
    """
    return np.array([end, *[1.0] * (2 * reach + 1), end]) / (2 * (reach + end) + 1)
