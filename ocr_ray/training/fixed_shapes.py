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
the next replay overwrites. They are added on the stream on which autograd made a weight's accumulator, and
autograd keeps accumulators as long as a graph that uses them. On the default stream they cannot be recorded;
and DDP, which exchanges a bucket after the stream of its last gradient, needs one stream for all of them. So
they are made on a stream of their own, when nothing keeps those of earlier passes.
"""

import gc
import logging
import warnings
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

Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The summed loss of pixels, as `make_pixels` returns them, and labels."""

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
        """Replace encoder and decoders by CUDA graphs; no other thread may use the GPU meanwhile.

        Raises:
            RuntimeError: a pass waits for the GPU, or another operation cannot be recorded.
        """
        self.train()
        self._rehearse()
        gc.collect()  # what keeps accumulators of the passes before
        with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
            self.accumulators = [get_gradient_edge(weight).node for weight in self.weights]
        pool = torch.cuda.graph_pool_handle()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
            torch.cuda.make_graphed_callables(self.encode, (self.pixels,))
            # The memory of the graph's own output: nothing is copied on its way to the decoder.
            states = self.encode(self.pixels).detach().requires_grad_()
            for size in reversed(self.label_sizes):  # the largest first, so that the pool grows once
                decode = _Decode(self.ocr, self.precision)
                torch.cuda.make_graphed_callables(decode, (states, self.make_labels(size)), pool=pool)
                self.recorded[size] = decode

    def _rehearse(self) -> None:
        """Run the passes, the second time with an error if one waits for the GPU.

        While recording, such an error would leave PyTorch before 2.12 without usable random numbers.
        """
        labels, before = self.make_labels(self.label_sizes[-1]), torch.cuda.get_sync_debug_mode()
        try:
            for mode in ("default", "error"):
                torch.cuda.set_sync_debug_mode(mode)
                torch.autograd.grad(self.decode(self.encode(self.pixels), labels), self.weights)
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def make_labels(self, size: int) -> torch.Tensor:
        """Return random labels of a size, the same each time."""
        vocab_size = self.network.decoder.get_input_embeddings().weight.shape[0]
        generator = torch.Generator().manual_seed(0)
        return torch.randint(vocab_size, (self.batch_size, size), generator=generator).to(self.ocr.device)

    def differentiate(self, losses: Losses) -> list[torch.Tensor]:
        """Return the loss of a batch and its gradients, in the mode that the network is in.

        They are not divided by the tokens: in fp16, the gradients of a mean would underflow.
        """
        generator = torch.Generator().manual_seed(1)
        noise = torch.randint(256, self.pixels.shape, generator=generator, dtype=torch.uint8)
        pixels = noise.to(self.pixels.device, self.pixels.dtype)
        loss = losses(pixels, self.make_labels(self.label_sizes[0]))
        return [loss.detach(), *torch.autograd.grad(loss, self.weights)]

    def check(self, expected: Sequence[torch.Tensor]) -> None:
        """Check `differentiate` without dropout against that of the uncompiled loss.

        Raises:
            RuntimeError: they differ by more than rounding.
        """
        self.train()
        decode = _Decode(self.ocr, self.precision).eval()
        encode = self.encode
        if has_dropout(encode.encoder):
            encode = self.plain_encode.eval()
        if self.recorded:
            states = encode(self.pixels).detach().requires_grad_()
            torch.cuda.make_graphed_callables(decode, (states, self.make_labels(self.label_sizes[0])))
        own = self.differentiate(lambda pixels, labels: decode(encode(pixels), labels))
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
    ocr: OcrModel, config: TrainConfig, label_sizes: Sequence[int], uncompiled: Losses
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

    def attempt(part: str, *, is_compiled: bool, is_recorded: bool) -> FixedShapeLosses | None:
        losses = FixedShapeLosses(
            ocr,
            config.number_format,
            batch_size=config.lines_per_batch,
            label_sizes=label_sizes,
            is_compiled=is_compiled,
        )
        try:
            _prepare(losses, uncompiled, is_recorded=is_recorded)
        except FAILURES as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("training goes on without %s, which failed: %s", part, reason)
            return None
        return losses

    compiled = recorded = None
    if has_dropout(ocr.network.encoder):  # whose masks, if compiled, cannot be compared with the usual ones
        log.warning("the encoder has dropout, so its layers are not compiled")
    else:
        compiled = attempt("compiled layers", is_compiled=True, is_recorded=False)
    if on_gpu:
        recorded = attempt("CUDA graphs", is_compiled=compiled is not None, is_recorded=True)
    gc.collect()  # the memory of what failed, and of the graph that was only compared
    losses = recorded or compiled
    if losses is None:
        return None
    names = [*["compiled layers"] * (compiled is not None), *["CUDA graphs"] * (recorded is not None)]
    log.info("%s, labels of %s tokens", " and ".join(names), ", ".join(map(str, label_sizes)))
    for weight in losses.weights:
        weight.grad = torch.zeros_like(weight)
    return losses


def _prepare(losses: FixedShapeLosses, uncompiled: Losses, *, is_recorded: bool) -> None:
    """Record the losses and check them; the current stream stays, even if the end of a recording fails."""
    on_gpu = losses.pixels.is_cuda
    with (
        torch.random.fork_rng([torch.cuda.current_device()] if on_gpu else []),
        torch.cuda.stream(torch.cuda.current_stream()) if on_gpu else nullcontext(),
    ):
        losses.eval()
        # Before recording: both need the memory of all activations.
        expected = losses.differentiate(uncompiled)
        if is_recorded:
            losses.record()
        losses.check(expected)
