"""Steps with fixed memory, as a GPU repeats them, run on a CPU against transformers' own greedy search."""

import gc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders.decoders import DECODERS, IMAGE_SIZE, build_network
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DynamicCache

from ocr_ray.model.decoding import decode_greedily, encode
from ocr_ray.model.fit import CACHE
from ocr_ray.model.load import restore_sinusoids
from ocr_ray.model.static_steps import StaticSteps, find_static_steps

torch.set_num_threads(1)

KINDS = [*DECODERS, ("trocr", {**dict(DECODERS)["trocr"], "use_learned_position_embeddings": False})]
IDS = [*(kind for kind, _ in DECODERS), "trocr-sinusoidal"]
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
NUM_LINES = 40
"""So many that rows are dropped twice: 64, 32, 16."""


def make_ocr(kind: str, own: dict[str, Any]) -> Any:
    """Return a network that reads different lines differently, and ends them at different steps."""
    network = build_network(kind, own)
    restore_sinusoids(network)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim > 1:
                weights.mul_(12)
    generation = network.generation_config
    generation.max_length, generation.pad_token_id = 19, network.config.pad_token_id
    generation.eos_token_id = [2, *range(10, 15)]
    return SimpleNamespace(network=network)


def draw_pixels() -> torch.Tensor:
    return torch.randn(NUM_LINES, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("kind", "own"), KINDS, ids=IDS)
@pytest.mark.parametrize("device", DEVICES)
def test_the_tokens_are_those_of_transformers_for_each_kind_of_decoder(
    kind: str, own: dict[str, Any], device: str
) -> None:
    ocr = make_ocr(kind, own)
    ocr.network.to(device)
    pixels = draw_pixels().to(device)
    theirs = ocr.network.generate(pixels, do_sample=False, num_beams=1)
    states = encode(ocr, pixels)
    for num_lines in (NUM_LINES, 5, NUM_LINES):  # the memory is used again
        ours = decode_greedily(ocr, states[:num_lines], is_static=True)
        width = ours.tokens.shape[1]
        assert torch.equal(ours.tokens, theirs[:num_lines, :width])
        assert (theirs[:num_lines, width:] == ocr.network.config.pad_token_id).all()
    grown = decode_greedily(ocr, states, is_static=False)
    assert torch.equal(grown.tokens, theirs)
    assert ours.confidences.tolist() == pytest.approx(grown.confidences.tolist(), rel=1e-4)
    assert torch.equal(ours.reached_limit, grown.reached_limit)
    assert len({tuple(line) for line in theirs.tolist()}) > 5
    steps = find_static_steps(ocr.network.decoder, states, 19)
    assert steps is not None
    assert steps.max_rows == 64


class ReadsNothingBack(TorchDispatchMode):
    """Fails where a program waits for a value or a shape, which a capture of a CUDA graph cannot."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal"), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("kind", "own"), KINDS, ids=IDS)
def test_a_step_reads_no_value_back_and_works_in_the_same_memory(kind: str, own: dict[str, Any]) -> None:
    ocr = make_ocr(kind, own)
    decoder = ocr.network.decoder
    with torch.inference_mode():
        states = encode(ocr, draw_pixels())
        steps = StaticSteps(decoder, states, max_rows=NUM_LINES, max_length=19)
        rows = steps.start(states)
        tokens = torch.full((rows, 1), 7)
        with ReadsNothingBack():
            addresses = [steps.read(decoder, tokens).data_ptr() for _ in range(3)]
            steps.keep(torch.arange(16))
            addresses.append(steps.read(decoder, tokens[:16]).data_ptr())
    assert len(set(addresses)) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"suppress_tokens": [5, 7, 9]},
        {"min_length": 8},
        {"repetition_penalty": 3.0},
        {"forced_bos_token_id": 6},
        {"bad_words_ids": [[35], [34, 27]]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_the_settings_of_the_checkpoint_hold(settings: dict[str, Any]) -> None:
    ocr = make_ocr(*KINDS[0])
    pixels = draw_pixels()
    usual = ocr.network.generate(pixels, do_sample=False, num_beams=1)
    for name, value in settings.items():
        setattr(ocr.network.generation_config, name, value)
    theirs = ocr.network.generate(pixels, do_sample=False, num_beams=1)
    ours = decode_greedily(ocr, encode(ocr, pixels), is_static=True).tokens
    assert torch.equal(ours, theirs)
    assert theirs.shape != usual.shape or not torch.equal(theirs, usual)


def test_steps_are_kept_until_they_are_too_small_or_the_weights_move() -> None:
    ocr = make_ocr(*KINDS[0])
    decoder = ocr.network.decoder
    with torch.inference_mode():
        states = encode(ocr, draw_pixels())
        small = find_static_steps(decoder, states[:9], 19)
        assert find_static_steps(decoder, states[:16], 32) is small
        large = find_static_steps(decoder, states, 19)
        assert large is not small
        assert find_static_steps(decoder, states[:1], 8) is large
        with torch.autocast("cpu", torch.bfloat16):
            assert find_static_steps(decoder, states, 19) is not large
        kept = find_static_steps(decoder, states, 19)
        decoder.to(torch.float64).to(torch.float32)
        assert find_static_steps(decoder, states, 19) is not kept
    memory = weakref.ref(find_static_steps(decoder, states, 19))
    del ocr, decoder, small, large, kept
    gc.collect()
    assert memory() is None


def test_numbers_of_an_earlier_line_do_not_reach_the_next(caplog: pytest.LogCaptureFixture) -> None:
    ocr = make_ocr(*KINDS[0])
    states = encode(ocr, draw_pixels())
    expected = decode_greedily(ocr, states, is_static=True)
    decode_greedily(ocr, states * torch.nan, is_static=True)
    again = decode_greedily(ocr, states, is_static=True)
    assert torch.equal(again.tokens, expected.tokens)
    assert torch.equal(again.confidences, expected.confidences)
    assert not caplog.records


def attend_to_all(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Replace the mask, as a decoder would that takes none of four dimensions."""
    mask = kwargs["attention_mask"]
    return kwargs if mask is None else {**kwargs, "attention_mask": torch.zeros_like(mask)}


def refuse_other_caches(kwargs: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(kwargs[CACHE].self_attention_cache, DynamicCache):
        raise TypeError("this decoder takes a DynamicCache")
    return kwargs


@pytest.mark.parametrize(
    ("change", "reason"), [(attend_to_all, "other logits"), (refuse_other_caches, "takes a DynamicCache")]
)
def test_a_decoder_that_does_not_work_so_is_read_with_its_own_cache(
    change: Callable[[dict[str, Any]], dict[str, Any]], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    ocr = make_ocr(*KINDS[0])
    ocr.network.decoder.register_forward_pre_hook(
        lambda _, args, kwargs: (args, change(kwargs)), with_kwargs=True
    )
    pixels = draw_pixels()
    theirs = ocr.network.generate(pixels, do_sample=False, num_beams=1)
    states = encode(ocr, pixels)
    for _ in range(2):
        assert torch.equal(decode_greedily(ocr, states, is_static=True).tokens, theirs)
    (record,) = caplog.records
    assert "BertLMHeadModel does not work with fixed memory" in record.message
    assert reason in record.message
