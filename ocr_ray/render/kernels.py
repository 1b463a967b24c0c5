"""Kernels of separable filters: area averages and Pillow's Gaussian blur."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Kernel = npt.NDArray[np.float64]

_STEPS = 64
"""Steps per pixel in which widths are rounded, so that kernels can be cached."""
_FAINTEST = 1 / 400
"""Part of a kernel's sum of 1 that can be cut off at either end without a visible difference."""


def area_kernel(width_px: float) -> Kernel:
    """Return the kernel that averages over a width, at least one pixel; its ends have partial weights."""
    return _area_kernel(round(width_px * _STEPS))


def blur_kernel(radius_px: float, is_reduced: bool) -> Kernel:
    """Return the kernel of a Gaussian blur; `is_reduced` adds the softness of Pillow's reduction of a line.

    Like Pillow, it convolves three extended boxes, each with a third of the variance: Gwosdek et al. 2011,
    "Theoretical foundations of Gaussian convolution by extended box filtering", equations 8 and 14.
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
    visible = max(1, middle - int(np.searchsorted(np.cumsum(kernel), _FAINTEST)))
    kernel = kernel[middle - visible : middle + visible + 1]
    return np.asarray(kernel / kernel.sum())


def _extended_box(reach: int, end: float) -> Kernel:
    """Return 2 * reach + 1 equal weights, and on either side one of `end` times that; their sum is 1.

    There are at least three, even if the outer ones are 0: OpenCV is fast for three and five.
    """
    return np.array([end, *[1.0] * (2 * reach + 1), end]) / (2 * (reach + end) + 1)
