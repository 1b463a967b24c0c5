"""Batches of a fixed shape, on a CPU without CUDA graphs, against transformers and the usual step."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from builders.standin_model import Decoder, Encoder, write_standin
from builders.training_data import CONFIG, data_of, make_tiny_model, weights_of
from harness.keeper import Keeper
from torch.autograd.graph import get_gradient_edge

from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.pixels import to_pixel_values
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.loader import IGNORED_TOKEN, LineLoader
from ocr_ray.training.data.row_groups import LineDataset, open_split
from ocr_ray.training.fixed_shapes import TOLERANCE, FixedShapeLosses, choose_sizes, fix_shapes
from ocr_ray.training.loop import train
from ocr_ray.training.setup import make_network, prepare
from ocr_ray.training.steps import apply_gradients, compute_gradients, make_blank_batch, sum_losses

torch.set_num_threads(1)

KINDS: list[tuple[Encoder, Decoder]] = list(
    product(("deit", "vit"), ("roberta", "trocr", "trocr-sinusoidal"))
)
TEXTS = ["값 7개", "1000 + 100 = 1100", "뷁"]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def make_losses(ocr: OcrModel, *, batch_size: int, sizes: list[int]) -> FixedShapeLosses:
    losses = FixedShapeLosses(ocr, "fp32", batch_size=batch_size, label_sizes=sizes, is_compiled=False)
    for weight in losses.weights:
        weight.grad = torch.zeros_like(weight)
    return losses


def make_labels(ocr: OcrModel) -> torch.Tensor:
    ids = ocr.encode_labels(TEXTS)
    longest = max(map(len, ids))
    return torch.tensor([row + [IGNORED_TOKEN] * (longest - len(row)) for row in ids])


@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_a_padded_batch_has_the_loss_and_gradients_of_transformers(
    tmp_path: Path, encoder: Encoder, decoder: Decoder
) -> None:
    """Three lines among five, labels of fewer tokens than their size, gradients added to those before."""
    ocr = load_model(write_standin(tmp_path, encoder=encoder, decoder=decoder))
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (len(TEXTS), 64, 64), generator=noise, dtype=torch.uint8)
    labels = make_labels(ocr)
    expected = ocr.network(pixel_values=to_pixel_values(ocr, pixels, ocr.device), labels=labels).loss
    expected = expected * (labels != IGNORED_TOKEN).sum()
    theirs = torch.autograd.grad(expected, list(ocr.network.parameters()), allow_unused=True)
    losses = make_losses(ocr, batch_size=5, sizes=[8, labels.shape[1] + 3]).eval()
    loss = losses(pixels, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for _ in range(2):
        losses(pixels, labels).backward()
    for weight, gradient in zip(ocr.network.parameters(), theirs, strict=True):
        if gradient is not None:
            assert weight.grad is not None
            torch.testing.assert_close(weight.grad, 2 * gradient, rtol=1e-4, atol=1e-6)


def test_colour_images_and_longer_labels_than_expected_are_taken_too(tmp_path: Path) -> None:
    ocr = load_model(write_standin(tmp_path))
    labels = make_labels(ocr)
    pixels = torch.full((len(TEXTS), 64, 64), 7, dtype=torch.uint8)
    losses = make_losses(ocr, batch_size=4, sizes=[8]).eval()
    colour = to_pixel_values(ocr, pixels, ocr.device).contiguous()
    assert losses(colour, labels).item() == pytest.approx(losses(pixels, labels).item(), rel=1e-5)


def test_steps_of_fixed_shapes_have_the_gradients_of_the_usual_ones(
    short: LineDataset, model_folder: Path
) -> None:
    """Ten lines in steps of eight, in batches of four: the second step is one batch of two lines."""
    usual, fixed = make_tiny_model(model_folder), make_tiny_model(model_folder)
    config = TrainConfig(batch_size=4, compile="off")
    split = open_split("lines", short.folder / "train")
    gradients = []
    for ocr in (usual, fixed):
        training = prepare(ocr, config)
        ocr.network.eval()
        network = ocr.network
        if ocr is fixed:
            network = make_losses(ocr, batch_size=4, sizes=[16, 32, 64]).eval()
        loader = LineLoader(splits=(split,), ocr=ocr, batch_size=4, global_batch_size=8)
        for step in loader.steps(0):
            before = [weight.grad for weight in ocr.network.parameters()]
            loss = compute_gradients(network, training, step, blank=make_blank_batch(ocr), config=config)
            after = [weight.grad for weight in ocr.network.parameters()]
            gradients.append([loss, *(gradient.clone() for gradient in after if gradient is not None)])
            if ocr is fixed:
                assert all(one is other for one, other in zip(before, after, strict=True))
    for of_usual, of_fixed in zip(gradients[:2], gradients[2:], strict=True):
        torch.testing.assert_close(of_fixed, of_usual, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("lengths", "limit", "expected"),
    [
        ([[1, 8], [9, 21]], 128, [8, 16, 24]),
        ([[30]], 128, [32]),
        ([[5, 30]], 28, [8, 28]),
        ([[5, 65, 130]], 512, [24, 72, 144]),
        (None, 20, [8, 16, 20]),
    ],
)
def test_labels_have_few_sizes(lengths: list[list[int]] | None, limit: int, expected: list[int]) -> None:
    assert choose_sizes(lengths and [np.array(of) for of in lengths], limit) == expected
    assert len(choose_sizes(None, 512)) == 8


def sum_uncompiled(ocr: OcrModel) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    return lambda pixels, labels: sum_losses(ocr.network, ocr, (pixels, labels), TrainConfig())


def test_a_loss_or_gradients_that_differ_are_noticed(tmp_path: Path) -> None:
    ocr = load_model(write_standin(tmp_path))
    prepare(ocr, TrainConfig())
    losses, usual = make_losses(ocr, batch_size=2, sizes=[8]), sum_uncompiled(ocr)
    loss, *gradients = losses.eval().differentiate(usual)
    losses.check([loss, *gradients])
    assert losses.training
    assert ocr.network.decoder.training
    with pytest.raises(RuntimeError, match=r"differ by 0\.0099 of their norm, more than rounding"):
        losses.check([1.01 * loss, *gradients])
    with pytest.raises(RuntimeError, match=r"differ by 0\.5 of their norm"):
        losses.check([loss, *(2 * gradient for gradient in gradients)])


def test_nothing_keeps_where_gradients_are_added_before_recording(tmp_path: Path) -> None:
    """What autograd made on the default stream could not be recorded; a new one has no mark."""
    ocr = load_model(write_standin(tmp_path))
    prepare(ocr, TrainConfig())
    losses = make_losses(ocr, batch_size=2, sizes=[8])
    for weight in losses.weights:
        get_gradient_edge(weight).node.metadata["is_old"] = True
    losses.check(losses.eval().differentiate(sum_uncompiled(ocr)))
    assert not any("is_old" in get_gradient_edge(weight).node.metadata for weight in losses.weights)


def test_gradients_to_compare_do_not_underflow_in_fp16(tmp_path: Path) -> None:
    """Those of a mean over 512 tokens differ by a quarter of their norm."""
    ocr = load_model(write_standin(tmp_path))
    prepare(ocr, TrainConfig())
    of_precision = []
    for precision in ("fp32", "fp16"):
        losses = FixedShapeLosses(ocr, precision, batch_size=64, label_sizes=[8], is_compiled=False).eval()
        _, *gradients = losses.differentiate(losses)
        of_precision.append(torch.cat([gradient.flatten() for gradient in gradients]))
    exact, rounded = of_precision
    assert (rounded - exact).norm() < TOLERANCE["fp16"] / 2 * exact.norm()


@pytest.mark.parametrize(
    ("part", "name", "message"),
    [
        ("decoder", "decoder_layerdrop", "leaves out layers at random"),
        ("encoder", "hidden_dropout_prob", "the encoder has dropout"),
    ],
)
def test_what_draws_random_numbers_is_not_compiled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, part: str, name: str, message: str
) -> None:
    ocr = load_model(write_standin(tmp_path))
    setattr(getattr(ocr.network.config, part), name, 0.1)
    assert fix_shapes(ocr, TrainConfig(compile="on"), [8], sum_uncompiled(ocr)) is None
    assert message in caplog.text


def train_without_dropout(
    dataset: LineDataset, folder: Path, config: TrainConfig
) -> tuple[OcrModel, list[float]]:
    """Return the model after an epoch and its recorded losses; padding would change dropout's masks."""
    ocr = make_tiny_model(folder)
    for module in ocr.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    state = train(ocr, data_of(dataset), replace(config, epochs=1), hooks=Keeper().hooks)
    return ocr, [record["loss"] for record in state.history if record["kind"] == "train"]


def test_without_a_compiler_training_goes_on_uncompiled(
    tmp_path: Path,
    short: LineDataset,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    trained = [
        train_without_dropout(short, model_folder, replace(CONFIG, compile=compile))[0]
        for compile in ("on", "off")
    ]
    assert caplog.text.count("training goes on without compiled layers, which failed: ") == 1
    on, off = map(weights_of, trained)
    assert all(torch.equal(on[name], off[name]) for name in off)


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_compiled_layers_train_as_uncompiled_ones(
    tmp_path: Path,
    short: LineDataset,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the inductor for CPUs; half a minute of it is g++.

    The gradients were compared before the first step, or the message would be another. A gradient that is
    only rounding, such as that of a key's bias, moves a weight by the learning rate in either direction.
    """
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with caplog.at_level(logging.INFO):
        on, losses = train_without_dropout(short, model_folder, replace(CONFIG, compile="on", lr=1e-4))
    assert "compiled layers, labels of " in caplog.text
    off, expected = train_without_dropout(short, model_folder, replace(CONFIG, lr=1e-4))
    assert losses == pytest.approx(expected, rel=1e-5)
    assert weights_of(on).keys() == weights_of(off).keys()
    for name, value in weights_of(off).items():
        torch.testing.assert_close(weights_of(on)[name], value, rtol=1e-4, atol=2 * 3 * 1e-4)


@needs_gpu
@pytest.mark.parametrize("compile", ["on", "off"])
def test_nothing_in_a_step_waits_for_the_gpu(
    short: LineDataset, model_folder: Path, compile: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten steps, of which the first has been run before."""
    ocr = make_tiny_model(model_folder)
    ocr.network.to("cuda")
    config = replace(CONFIG, batch_size=5, compile=compile, precision="fp32")
    with caplog.at_level(logging.INFO):
        training = prepare(ocr, config)
        network = make_network(training, config, data_of(short)).train()
    assert ("CUDA graphs, labels of" in caplog.text) == (compile == "on")
    split, blank = open_split("lines", short.folder / "train"), make_blank_batch(ocr)
    steps = [
        step for epoch in range(6) for step in LineLoader(splits=(split,), ocr=ocr, batch_size=5).steps(epoch)
    ]
    for number, step in enumerate(steps[:11]):
        torch.cuda.set_sync_debug_mode("default" if number == 0 else "error")
        try:
            compute_gradients(network, training, step, blank=blank, config=config)
            apply_gradients(training, config)
        finally:
            torch.cuda.set_sync_debug_mode("default")
