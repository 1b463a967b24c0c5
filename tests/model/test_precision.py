from collections.abc import Iterator

import pytest
import torch
from torch import nn

from ocr_ray.errors import InputError
from ocr_ray.model.options import Capability, Precision, PrecisionChoice, choose_precision
from ocr_ray.model.precision import (
    autocast,
    check_precision,
    clip_gradients,
    make_optimizer,
    make_scaler,
    set_tf32,
)
from ocr_ray.model.reading_precision import settle_precision

torch.set_num_threads(1)

CPU = torch.device("cpu")


@pytest.fixture
def as_it_was() -> Iterator[None]:
    """Puts the process's own rounding back."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_what_only_a_gpu_computes_is_refused_on_a_cpu(precision: Precision) -> None:
    with pytest.raises(InputError, match=f"--precision {precision} needs a GPU"):
        make_scaler(precision, CPU)


def test_bf16_is_refused_on_a_cpu_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    with pytest.raises(InputError, match="bf16 needs a CPU with AVX-512"):
        check_precision("bf16", CPU)
    check_precision("fp32", CPU)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_an_old_gpu_is_refused_what_it_lacks(precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    with pytest.raises(InputError, match=r"capability 8\.0 or more, this one has 7\.5"):
        check_precision(precision, torch.device("cuda"))
    check_precision("fp16", torch.device("cuda"))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 0))
    check_precision(precision, torch.device("cuda"))


def test_auto_is_what_the_device_computes_fastest() -> None:
    chosen = [choose_precision(capability) for capability in (None, (7, 5), (8, 0), (9, 0))]
    assert chosen == ["fp32", "fp16", "bf16", "bf16"]


def settle(chosen: PrecisionChoice, plan: dict[str, str] | None, capability: Capability | None) -> Precision:
    """Return the precision on a CPU, or with a GPU that only another machine has."""
    return settle_precision(
        chosen, plan, use_gpu=capability is not None, call_on_gpu=lambda read, device: capability
    )


def test_reading_keeps_the_precision_of_an_earlier_run_and_else_has_that_of_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert [settle("auto", None, gpu) for gpu in (None, (7, 5), (9, 0))] == ["fp32", "fp16", "bf16"]
    assert (
        settle("auto", {"precision": "bf16"}, None) == settle("auto", {"precision": "bf16"}, (7, 5)) == "bf16"
    )
    assert settle("auto", {}, (9, 0)) == "fp32"  # before plans of labelled pages had a precision
    assert settle("tf32", {"precision": "bf16"}, (9, 0)) == "tf32"
    with pytest.raises(InputError, match="--use-gpu needs a build of torch for NVIDIA GPUs"):
        settle_precision("auto", None, use_gpu=True, call_on_gpu=lambda read, device: read(device))


def test_the_gpu_of_another_machine_is_checked_by_its_capability() -> None:
    cuda = torch.device("cuda")
    check_precision("bf16", cuda, (9, 0))
    with pytest.raises(InputError, match=r"--precision bf16 needs .* 8\.0 or more, this one has 7\.5"):
        check_precision("bf16", cuda, (7, 5))


@pytest.mark.usefixtures("as_it_was")
@pytest.mark.parametrize(
    ("on_gpu", "with_tf32"), [(True, {"tf32", "bf16", "fp16"}), (False, {"tf32"})], ids=["gpu", "cpu"]
)
def test_tf32_is_for_all_but_fp32_on_a_gpu(
    on_gpu: bool, with_tf32: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU too, the setting would change products of what bf16 leaves in float32."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: on_gpu)
    for precision in ("fp32", "tf32", "bf16", "fp16"):
        set_tf32(precision)  # type: ignore[arg-type]
        expected = ("high", True) if precision in with_tf32 else ("highest", False)
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == expected


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_layers_compute_in_the_precision_and_keep_float32_weights(
    precision: Precision, dtype: torch.dtype
) -> None:
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bf16")
    make_scaler(precision, CPU)
    layer = nn.Linear(3, 2)
    with autocast(precision, CPU):
        output = layer(torch.ones(1, 3))
    assert output.dtype == dtype
    output.float().sum().backward()
    assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32  # type: ignore[union-attr]
    assert layer(torch.ones(1, 3)).dtype == torch.float32


def test_fused_adam_takes_the_step_of_its_paper() -> None:
    """Kingma and Ba 2015, algorithm 1, in float64 beside it."""
    weights = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    optimizer = make_optimizer([weights], lr=0.1)
    assert optimizer.param_groups[0]["fused"] is True
    value = weights.detach().double().clone()
    first = second = torch.zeros(3, dtype=torch.float64)
    for step, gradient in enumerate(
        torch.tensor([[0.5, -1.0, 0.0], [2.0, 0.1, 1e-4], [-0.3, 4.0, 1.0]]), start=1
    ):
        weights.grad = gradient
        optimizer.step()
        first = 0.9 * first + 0.1 * gradient.double()
        second = 0.999 * second + 0.001 * gradient.double() ** 2
        value -= 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        torch.testing.assert_close(weights.detach().double(), value, rtol=1e-6, atol=1e-6)


def test_a_reloaded_optimizer_goes_on_with_the_same_bits() -> None:
    gradients = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))

    def take(optimizer: torch.optim.Adam, weights: nn.Parameter, rows: torch.Tensor) -> None:
        for row in rows:
            weights.grad = row.clone()
            optimizer.step()

    whole, cut = nn.Parameter(torch.ones(50)), nn.Parameter(torch.ones(50))
    take(make_optimizer([whole], lr=0.01), whole, gradients)
    first = make_optimizer([cut], lr=0.01)
    take(first, cut, gradients[:3])
    again = make_optimizer([cut], lr=0.5)
    again.load_state_dict(first.state_dict())
    take(again, cut, gradients[3:])
    assert torch.equal(whole, cut)


def test_gradients_are_scaled_down_to_the_norm_and_never_up() -> None:
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    optimizer, scaler = make_optimizer(weights, lr=0.1), make_scaler("fp32", CPU)
    weights[0].grad, weights[1].grad = torch.tensor([2.0, 3.0]), torch.tensor([6.0])
    assert float(clip_gradients(optimizer, scaler, 3.5)) == pytest.approx(7.0)  # 4 + 9 + 36 = 49
    assert weights[0].grad.tolist() == pytest.approx([1.0, 1.5], rel=1e-5)
    assert weights[1].grad.tolist() == pytest.approx([3.0], rel=1e-5)
    assert float(clip_gradients(optimizer, scaler, 100.0)) == pytest.approx(3.5, rel=1e-5)
    assert weights[1].grad.tolist() == pytest.approx([3.0], rel=1e-5)


def take_steps(scaler: torch.amp.GradScaler, inputs: torch.Tensor) -> torch.Tensor:
    """Return the weights after a step of two accumulated batches for each row pair, clipped to norm 1."""
    weights = nn.Parameter(torch.tensor([0.5, -0.5]))
    optimizer = make_optimizer([weights], lr=0.1)
    for pair in inputs.split(2):
        optimizer.zero_grad(set_to_none=True)
        for row in pair:
            scaler.scale((weights * row).square().sum()).backward()
        clip_gradients(optimizer, scaler, 1.0)
        scaler.step(optimizer)
        scaler.update()
    return weights.detach()


def test_scaled_gradients_are_accumulated_and_clipped_as_unscaled_ones() -> None:
    """fp16's scaler, here on the CPU; powers of two change no bit."""
    inputs = torch.randn(8, 2, generator=torch.Generator().manual_seed(4))
    scaled = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    assert torch.equal(take_steps(scaled, inputs), take_steps(make_scaler("fp32", CPU), inputs))


def test_a_step_that_overflows_is_left_out_and_the_scale_halved() -> None:
    inputs = torch.randn(6, 2, generator=torch.Generator().manual_seed(4))
    broken = inputs.clone()
    broken[2] = torch.inf
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    weights = take_steps(scaler, broken)
    assert torch.equal(weights, take_steps(make_scaler("fp32", CPU), inputs[[0, 1, 4, 5]]))
    assert scaler.get_scale() == 2.0**9
    again = torch.amp.GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 2.0**9
