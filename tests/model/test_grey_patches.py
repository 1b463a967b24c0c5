import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ocr_ray.model.grey_patches import GreyPatches, use_grey_patches

torch.set_num_threads(1)


class Encoder(nn.Module):
    """A patch embedding among convolutions that are none."""

    def __init__(self, patch: tuple[int, int] = (4, 4), *, bias: bool = True) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict({"projection": nn.Conv2d(3, 5, patch, patch, bias=bias)})
        self.overlapping = nn.Conv2d(3, 5, 4, 2)
        self.padded = nn.Conv2d(3, 5, 4, 4, padding=1)
        self.grouped = nn.Conv2d(6, 6, 4, 4, groups=3)
        self.grey = nn.Conv2d(1, 5, 4, 4)


def make_grey(num_images: int, height_px: int, width_px: int) -> torch.Tensor:
    noise = torch.randn(num_images, 1, height_px, width_px, generator=torch.Generator().manual_seed(1))
    return noise.expand(-1, 3, -1, -1)


@settings(max_examples=40, deadline=None)
@given(
    patch=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(5, 17), st.integers(5, 17)),
    num_images=st.integers(1, 3),
    bias=st.booleans(),
)
def test_equal_channels_are_embedded_as_the_convolution_would(
    patch: tuple[int, int], size: tuple[int, int], num_images: int, bias: bool
) -> None:
    encoder = Encoder(patch, bias=bias)
    convolution = encoder.embeddings["projection"]
    assert use_grey_patches(encoder) == 1
    patches = encoder.embeddings["projection"]
    grey = make_grey(num_images, *size)
    expected, embedded = convolution(grey.contiguous()), patches(grey)
    torch.testing.assert_close(embedded, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    parameters = list(convolution.parameters())
    by_convolution = torch.autograd.grad((expected * weights).sum(), parameters)
    by_patches = torch.autograd.grad((embedded * weights).sum(), parameters)
    torch.testing.assert_close(by_patches, by_convolution, rtol=1e-4, atol=1e-4)


def test_other_images_go_through_the_convolution_bit_for_bit() -> None:
    encoder = Encoder()
    convolution = encoder.embeddings["projection"]
    use_grey_patches(encoder)
    colour = torch.randn(2, 3, 8, 8)
    assert torch.equal(encoder.embeddings["projection"](colour), convolution(colour))


@pytest.mark.parametrize(("patch", "size"), [((4, 4), (8, 8)), ((3, 5), (10, 12))])
def test_colour_images_are_embedded_by_one_product_as_by_the_convolution(
    patch: tuple[int, int], size: tuple[int, int]
) -> None:
    """As on a GPU."""
    encoder = Encoder(patch)
    convolution = encoder.embeddings["projection"]
    use_grey_patches(encoder)
    patches = encoder.embeddings["projection"]
    colour = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        patches.embed_patches(colour, patches.weight), convolution(colour), rtol=1e-5, atol=1e-5
    )


def test_only_patch_embeddings_of_several_channels_change_and_keep_their_parameters() -> None:
    encoder = Encoder()
    before = dict(encoder.named_parameters())
    use_grey_patches(encoder)
    changed = [name for name, module in encoder.named_modules() if isinstance(module, GreyPatches)]
    assert changed == ["embeddings.projection"]
    after = dict(encoder.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is parameter for name, parameter in before.items())
    assert use_grey_patches(encoder) == 0


@pytest.mark.parametrize("is_training", [True, False])
def test_the_embedding_stays_in_the_mode_it_was_in(is_training: bool) -> None:
    encoder = Encoder().train(is_training)
    use_grey_patches(encoder)
    assert encoder.embeddings["projection"].training is is_training
