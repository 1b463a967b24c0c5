"""The loss of batches of a fixed shape: compiled layers and, on a GPU, CUDA graphs.

A step of a small model has thousands of kernels, which the CPU cannot launch as fast as a GPU computes them.
A CUDA graph launches all kernels of a pass at once, but only for the shapes and addresses that it was
recorded with. So a batch with fewer lines gets blank ones, and labels are padded to a few sizes. Positions
without a label have no loss and no gradient, and labelled ones do not attend to them: the sums are those of
the batch.

Two pairs of graphs make a step, forward and backward: the encoder, and the decoder with the loss for the size
of the labels. What is recorded into one memory pool may overwrite what an earlier recording of the pool had
freed, such as saved activations. So the encoder, whose activations must outlast the decoder's passes, has a
pool of its own. Decoders of all sizes share the other: the backward pass of one follows its forward pass
before another runs, and its loss and gradients are read before, in the order of the stream. See
https://docs.pytorch.org/docs/stable/notes/cuda.html#graph-memory-management

Gradients are added to `.grad` in place: set to None, `.grad` could become the static buffer of a graph, which
the next replay overwrites.
"""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from subprocess import SubprocessError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.models.vision_encoder_decoder.modeling_vision_encoder_decoder import shift_tokens_right

from ocr_ray.model.load import OcrModel
from ocr_ray.model.options import Precision
from ocr_ray.model.pixels import make_pixels, to_pixel_values
from ocr_ray.model.precision import autocast
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import IGNORED_TOKEN

log = logging.getLogger(__name__)

LABEL_STEP, MAX_SIZES = 8, 8
"""Labels are padded to multiples of this many tokens, or of more if there were more sizes than these."""
FUSED_ATTENTION = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
"""Without a choice, compiled layers get the plain attention, which is slower than not compiling."""
TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-3, "tf32": 1e-2, "fp16": 2e-2, "bf16": 5e-2}
"""The largest difference from the uncompiled loss and gradient, relative to their norms."""
FAILURES = (
    RuntimeError,
    ImportError,
    OSError,
    SubprocessError,
    AssertionError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
)
"""What compiling and recording raise: a missing compiler, an operation that cannot be recorded, and more."""


class _Encode(nn.Module):
    """The states that the decoder attends to, from pixels in the form of the loader."""

    def __init__(self, ocr: OcrModel, precision: Precision, *, is_compiled: bool) -> None:
        super().__init__()
        self.encoder = ocr.network.encoder
        self.projection = getattr(ocr.network, "enc_to_dec_proj", None)
        self.ocr, self.precision = ocr, precision
        layers = find_layers(self.encoder) if is_compiled else []
        self.compiled = [(layer, torch.compile(layer.forward, dynamic=False)) for layer in layers]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        is_fused = self.compiled and pixels.is_cuda
        with (
            autocast(self.precision, pixels.device, is_cached=False),
            sdpa_kernel(FUSED_ATTENTION) if is_fused else nullcontext(),
            self._compiled_layers(),
        ):
            states: torch.Tensor = self.encoder(to_pixel_values(self.ocr, pixels, pixels.device))[0]
            return states if self.projection is None else self.projection(states)

    @contextmanager
    def _compiled_layers(self) -> Iterator[None]:
        """Use the compiled layers for one pass; validation has batches of other sizes."""
        for layer, forward in self.compiled:
            layer.forward = forward
        try:
            yield
        finally:
            for layer, _ in self.compiled:
                del layer.forward


class _Decode(nn.Module):
    """The summed loss of labels of shape (N, T), given the encoder's states."""

    def __init__(self, ocr: OcrModel, precision: Precision) -> None:
        super().__init__()
        self.decoder, self.precision = ocr.network.decoder, precision
        config = ocr.network.config
        self.pad_token_id, self.start_token_id = config.pad_token_id, config.decoder_start_token_id

    def forward(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with autocast(self.precision, states.device, is_cached=False):
            logits = self.decoder(
                input_ids=shift_tokens_right(labels, self.pad_token_id, self.start_token_id),
                encoder_hidden_states=states,
                use_cache=False,
            ).logits
        return F.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED_TOKEN, reduction="sum"
        )


class FixedShapeLosses(nn.Module):
    """The summed loss of batches of at most `batch_size` lines, in the mode of training only.

    DDP can wrap it: its parameters are those of the network, in the same order.
    """

    def __init__(
        self,
        ocr: OcrModel,
        precision: Precision,
        *,
        batch_size: int,
        label_sizes: Sequence[int],
        is_compiled: bool,
    ) -> None:
        super().__init__()
        self.network = ocr.network
        self.ocr, self.precision = ocr, precision
        self.batch_size, self.label_sizes = batch_size, sorted(label_sizes)
        self.encode = _Encode(ocr, precision, is_compiled=is_compiled)
        self.plain_encode = _Encode(ocr, precision, is_compiled=False)
        self.decode = _Decode(ocr, precision)
        self.recorded: dict[int, nn.Module] = {}
        """By the size of the labels: decoders as CUDA graphs."""
        blank = make_pixels(ocr, [Image.new("L", (64, 64), 255)])
        self.pixels = blank.expand(batch_size, *blank.shape[1:]).contiguous().to(ocr.device)
        """A batch as the loader makes it of grey lines."""
        self.weights = [weight for weight in ocr.network.parameters() if weight.requires_grad]
        # Held: they add gradients on the stream on which they were made, which must not be that of recording.
        self.accumulators = [get_gradient_edge(weight).node for weight in self.weights]

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of the output of `make_pixels` and of labels of shape (N, T), padded with -100."""
        pixels, labels = self.pad(pixels, labels)
        is_usual = pixels.dtype == self.pixels.dtype and pixels.shape == self.pixels.shape
        states = self.encode(pixels) if is_usual else self.plain_encode(pixels)
        loss: torch.Tensor = self.recorded.get(labels.shape[1], self.decode)(states, labels)
        return loss

    def pad(self, pixels: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both with blank lines up to the batch size, and labels of the next size."""
        num_lines, length = labels.shape
        size = next((size for size in self.label_sizes if size >= length), length)
        missing = self.batch_size - num_lines
        if missing:
            pixels = F.pad(pixels, (0, 0) * (pixels.ndim - 1) + (0, missing))
        if missing or size > length:
            labels = F.pad(labels, (0, size - length, 0, missing), value=IGNORED_TOKEN)
        return pixels, labels

    def record(self) -> None:
        """Replace encoder and decoders by CUDA graphs; no other thread may use the GPU meanwhile."""
        self.train()
        torch.cuda.make_graphed_callables(self.encode, (self.pixels,))
        # The memory of the graph's own output: nothing is copied on its way to the decoder.
        states = self.encode(self.pixels).detach().requires_grad_()
        pool = torch.cuda.graph_pool_handle()
        for size in reversed(self.label_sizes):  # the largest first, so that the pool grows once
            decode = _Decode(self.ocr, self.precision)
            torch.cuda.make_graphed_callables(decode, (states, self.make_labels(size)), pool=pool)
            self.recorded[size] = decode

    def make_labels(self, size: int) -> torch.Tensor:
        """Return random labels of a size, the same each time."""
        vocab_size = self.network.decoder.get_input_embeddings().weight.shape[0]
        generator = torch.Generator().manual_seed(0)
        return torch.randint(vocab_size, (self.batch_size, size), generator=generator).to(self.ocr.device)

    def check(self, uncompiled: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        """Check loss and gradients of a batch without dropout against those of `uncompiled`.

        Raises:
            RuntimeError: they differ by more than rounding.
        """
        generator = torch.Generator().manual_seed(1)
        noise = torch.randint(256, self.pixels.shape, generator=generator, dtype=torch.uint8)
        pixels = noise.to(self.pixels.device, self.pixels.dtype)
        labels = self.make_labels(self.label_sizes[0])
        self.train()
        decode = _Decode(self.ocr, self.precision).eval()
        encode = self.encode
        if has_dropout(encode.encoder):
            encode = self.plain_encode.eval()
        expected = self._differentiate(uncompiled, pixels, labels)
        if pixels.is_cuda:
            states = encode(pixels).detach().requires_grad_()
            torch.cuda.make_graphed_callables(decode, (states, labels))
        own = self._differentiate(lambda images, texts: decode(encode(images), texts), pixels, labels)
        self.train()
        difference = _norm([one - other for one, other in zip(own[1:], expected[1:], strict=True)])
        worst = max(
            float((own[0] - expected[0]).abs() / expected[0].abs()), float(difference / _norm(expected[1:]))
        )
        if not worst <= TOLERANCE[self.precision]:
            raise RuntimeError(
                f"loss or gradients differ by {worst:.2g} of their norm, more than rounding at precision "
                f"{self.precision}, {TOLERANCE[self.precision]:.2g}"
            )

    def _differentiate(
        self,
        losses: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        pixels: torch.Tensor,
        labels: torch.Tensor,
    ) -> list[torch.Tensor]:
        """Return the mean loss per token and its gradients."""
        loss = losses(pixels, labels) / labels.numel()
        return [loss.detach(), *torch.autograd.grad(loss, self.weights)]


def _norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack([tensor.norm() for tensor in tensors]))
    return norm


def find_layers(encoder: nn.Module) -> list[nn.Module]:
    """Return the layers of an encoder: the modules of its first list, in the order of its modules."""
    lists = (module for module in encoder.modules() if isinstance(module, nn.ModuleList))
    return list(next(lists, ()))


def has_dropout(encoder: Any) -> bool:
    """Return whether an encoder draws random numbers in training, by its config."""
    values = encoder.config.to_dict()
    return any("drop" in name and isinstance(value, float) and value > 0 for name, value in values.items())


def choose_sizes(lengths: Iterable[npt.NDArray[Any]] | None, limit: int) -> list[int]:
    """Return the sizes that labels of some lengths are padded to; None: of any length up to `limit`."""
    counts = range(1, limit + 1) if lengths is None else np.unique(np.concatenate(list(lengths))).tolist()
    step = LABEL_STEP * -(-max(counts) // (LABEL_STEP * MAX_SIZES))
    return sorted({min(limit, step * -(-count // step)) for count in counts if count})


def fix_shapes(
    ocr: OcrModel,
    config: TrainConfig,
    label_sizes: Sequence[int],
    uncompiled: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> FixedShapeLosses | None:
    """Return the compiled loss, with gradients at zero; None if it is off or fails, which is logged.

    Call it before any other thread uses the GPU: one that pins memory would end the recording. Random
    generators keep their state.
    """
    on_gpu = ocr.device.type == "cuda"
    if not config.is_compiled(on_gpu=on_gpu):
        return None
    if any("layerdrop" in name and value for name, value in ocr.network.config.decoder.to_dict().items()):
        log.warning("the decoder leaves out layers at random, so training is neither compiled nor recorded")
        return None
    attempts = [is_compiled for is_compiled in (True, False) if is_compiled or on_gpu]
    if has_dropout(ocr.network.encoder):  # whose masks, if compiled, cannot be compared with the usual ones
        log.warning("the encoder has dropout, so its layers are not compiled")
        attempts.remove(True)
    for is_compiled in attempts:
        names = [*["compiled layers"] * is_compiled, *["CUDA graphs"] * on_gpu]
        try:
            losses = _try(ocr, config, label_sizes, uncompiled, is_compiled)
        except FAILURES as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("training goes on without %s, which failed: %s", " and ".join(names), reason)
        else:
            log.info("%s, labels of %s tokens", " and ".join(names), ", ".join(map(str, label_sizes)))
            return losses
        gc.collect()  # the memory of what failed
    return None


def _try(
    ocr: OcrModel,
    config: TrainConfig,
    label_sizes: Sequence[int],
    uncompiled: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    is_compiled: bool,
) -> FixedShapeLosses:
    devices = [torch.cuda.current_device()] if ocr.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        losses = FixedShapeLosses(
            ocr,
            config.number_format,
            batch_size=config.lines_per_batch,
            label_sizes=label_sizes,
            is_compiled=is_compiled,
        )
        if devices:
            losses.record()
        losses.check(uncompiled)
    for weight in losses.weights:
        weight.grad = torch.zeros_like(weight)
    return losses
