"""Patch embeddings for grey images in colour encoders: three equal channels are embedded as one."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class GreyPatches(nn.Conv2d):
    """A patch embedding that treats equal channels as one; weights and names are those of the convolution.

    A kernel applied to equal channels is the sum of its channels applied to one of them: the same result up
    to rounding, with a third of the work and memory. Channels count as equal if they share memory, that is,
    have stride 0 (`grey.expand(-1, 3, -1, -1)`). Patches do not overlap, so embedding them is one matrix
    product; other images are embedded by it on a GPU, where the convolution is slow in bf16, and go through
    the convolution elsewhere.
    """

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return the embedding, shape (N, D, H / patch, W / patch), of images of shape (N, C, H, W)."""
        if pixel_values.stride(1) == 0:
            return self.embed_patches(pixel_values[:, :1], self.weight.sum(1, keepdim=True))
        if pixel_values.is_cuda:
            return self.embed_patches(pixel_values, self.weight)
        return super().forward(pixel_values)

    def embed_patches(self, pixel_values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return the convolution with `weight`, shape (D, C, patch, patch), as one matrix product."""
        num_images, channels, height_px, width_px = pixel_values.shape
        patch_height, patch_width = self.kernel_size[0], self.kernel_size[1]
        rows, columns = height_px // patch_height, width_px // patch_width
        grid = pixel_values[:, :, : rows * patch_height, : columns * patch_width].reshape(
            num_images, channels, rows, patch_height, columns, patch_width
        )
        patches = grid.permute(0, 2, 4, 1, 3, 5).reshape(num_images, rows * columns, -1)
        embedded = F.linear(patches, weight.flatten(1), self.bias)
        return embedded.transpose(1, 2).reshape(num_images, -1, rows, columns)


def use_grey_patches(network: Any) -> int:
    """Replace every patch embedding of a network by one for equal channels; return their number.

    The parameters stay the same objects under the same names, so checkpoints and optimizers are not affected.
    """
    count = 0
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and _cuts_patches(child):
                setattr(module, name, _as_grey_patches(child))
                count += 1
    return count


def _cuts_patches(convolution: nn.Conv2d) -> bool:
    """Return whether a convolution cuts an image of several channels into patches that do not overlap."""
    return (
        convolution.stride == convolution.kernel_size
        and convolution.padding in ((0, 0), "valid")
        and convolution.dilation == (1, 1)
        and convolution.groups == 1
        and convolution.in_channels > 1
    )


def _as_grey_patches(convolution: nn.Conv2d) -> GreyPatches:
    with torch.device("meta"):  # its own weights are never used
        patches = GreyPatches(
            convolution.in_channels,
            convolution.out_channels,
            (convolution.kernel_size[0], convolution.kernel_size[1]),
            (convolution.stride[0], convolution.stride[1]),
            bias=convolution.bias is not None,
        )
    patches.weight, patches.bias = convolution.weight, convolution.bias
    return patches.train(convolution.training)
