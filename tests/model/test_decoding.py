"""Our own loop of greedy generation, against transformers'."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.standin_model import IMAGE_SIZE, MAX_TOKENS, write_standin
from PIL import Image
from transformers import GenerationConfig

from ocr_ray.errors import ProductionError
from ocr_ray.model.decoding import decode_greedily, encode, find_unended
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.options import Decoding
from ocr_ray.model.pixels import make_pixel_values
from ocr_ray.model.read import read_images

PAIRS = [("deit", "trocr"), ("vit", "roberta"), ("deit", "trocr-sinusoidal")]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OcrModel:
    folder = tmp_path_factory.mktemp("model")
    encoder, decoder = request.param
    write_standin(folder, encoder=encoder, decoder=decoder)
    return load_model(folder)


def end_early(model: OcrModel, share: float) -> None:
    """Make lines end after different numbers of tokens: whole groups of tokens end a line."""
    vocabulary = model.network.config.decoder.vocab_size
    first = model.network.config.eos_token_id
    others = torch.randperm(vocabulary, generator=torch.Generator().manual_seed(0))
    model.network.generation_config.eos_token_id = sorted(
        {first, *others[: int(share * vocabulary)].tolist()}
    )


@pytest.mark.parametrize("is_static", [False, True])
def test_the_tokens_are_those_of_transformers_own_greedy_search(model: OcrModel, is_static: bool) -> None:
    pixels = torch.rand(9, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(1))
    lengths = set()
    for share in (0.0, 0.3, 0.9):
        end_early(model, share)
        theirs = model.network.generate(pixels, do_sample=False, num_beams=1)
        ours = decode_greedily(model, encode(model, pixels), is_static=is_static).tokens
        assert torch.equal(ours, theirs)
        lengths.add(ours.shape[1])
    assert len(lengths) > 1


def test_the_settings_of_the_checkpoint_hold(model: OcrModel) -> None:
    generation = model.network.generation_config
    pixels = torch.rand(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(2))
    usual = decode_greedily(model, encode(model, pixels)).tokens
    generation.suppress_tokens = [int(usual[0, 1])]
    generation.max_length = 7
    theirs = model.network.generate(pixels, do_sample=False, num_beams=1)
    ours = decode_greedily(model, encode(model, pixels)).tokens
    assert torch.equal(ours, theirs)
    assert ours.shape[1] <= 7
    assert ours[0, 1] != usual[0, 1]


def test_confidence_is_the_mean_probability_of_a_lines_own_tokens(model: OcrModel) -> None:
    pixels = torch.rand(4, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(3))
    end_early(model, 0.5)
    ends = torch.tensor(model.network.generation_config.eos_token_id)
    together = decode_greedily(model, encode(model, pixels))
    for row, confidence in zip(range(4), together.confidences, strict=True):
        tokens = together.tokens[row, 1:]
        stop = int(torch.isin(tokens, ends).int().argmax()) + 1 if torch.isin(tokens, ends).any() else None
        with torch.inference_mode():
            logits = model.network(
                pixel_values=pixels[row : row + 1], decoder_input_ids=together.tokens[row : row + 1, :-1]
            ).logits[0]
        chosen = logits.softmax(-1).gather(-1, tokens[:, None])[:stop, 0]
        assert float(confidence) == pytest.approx(chosen.mean().item(), rel=1e-4)


@pytest.mark.parametrize("num_beams", [1, 2])
def test_readings_that_end_at_the_limit_or_inside_a_character_are_flagged(
    tmp_path: Path, num_beams: int
) -> None:
    model = load_model(write_standin(tmp_path, decoder="roberta"))
    vocabulary, bias = model.tokenizer.get_vocab(), model.network.decoder.lm_head.bias
    image = io.BytesIO()
    Image.new("L", (IMAGE_SIZE, IMAGE_SIZE), 255).save(image, "PNG")
    # "Ġ" is the space of a byte-level tokenizer, "ê" the first of the three bytes of most syllables.
    for token, limit, flags in (
        ("</s>", None, ()),
        ("7", 9, ("reached_limit",)),
        ("ê", 9, ("reached_limit", "replacement_character")),
    ):
        model.network.generation_config.max_length = limit or MAX_TOKENS
        with torch.no_grad():
            bias.zero_()
            bias[vocabulary[token]] = 1e4
        (reading,) = read_images(model, [image.getvalue()], Decoding(num_beams=num_beams))
        assert reading.flags == flags
        assert reading.confidence == pytest.approx(1)
        assert set(reading.text) == ({"7"} if token == "7" else {"\ufffd"} if flags else set())


def test_a_reading_of_long_tokens_is_cut_and_flagged(tmp_path: Path) -> None:
    """RoBERTa's vocabulary has tokens of 64 dashes; the reader of predictions allows 2,000 characters."""
    model = load_model(write_standin(tmp_path, decoder="roberta"))
    model.tokenizer.add_tokens(["-" * 64])
    model.network.decoder.resize_token_embeddings(len(model.tokenizer))
    with torch.no_grad():
        model.network.decoder.lm_head.bias[-1] = 1e4
    image = io.BytesIO()
    Image.new("L", (IMAGE_SIZE, IMAGE_SIZE), 255).save(image, "PNG")
    (reading,) = read_images(model, [image.getvalue()])
    assert (reading.text, reading.flags) == ("-" * 2_000, ("reached_limit",))


def test_a_reading_that_ends_with_the_last_token_allowed_did_not_reach_the_limit() -> None:
    config = GenerationConfig(eos_token_id=[2, 9])
    tokens = torch.tensor([[2, 5, 5, 2], [2, 5, 5, 5], [2, 9, 1, 1], [0, 5, 5, 9]])  # 2 also starts a line
    assert find_unended(tokens, config).tolist() == [False, True, False, False]


@pytest.mark.parametrize("num_beams", [1, 2])
def test_logits_that_are_no_numbers_are_an_error_that_names_the_model(tmp_path: Path, num_beams: int) -> None:
    standin = load_model(write_standin(tmp_path, decoder="roberta"))
    model = replace(standin, name="s3://bucket/model")  # read from a temporary copy
    image = io.BytesIO()
    Image.new("L", (IMAGE_SIZE, IMAGE_SIZE), 255).save(image, "PNG")
    with torch.no_grad():
        model.network.decoder.lm_head.bias[7] = float("nan")
    with pytest.raises(ProductionError, match=r"the model s3://bucket/model must give finite logits"):
        read_images(model, [image.getvalue()], Decoding(num_beams=num_beams))


def encode_grey(level: int, width_px: int = IMAGE_SIZE) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width_px, IMAGE_SIZE), level).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_batch_too_large_for_the_memory_is_halved_and_reading_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(write_standin(tmp_path))
    images = [encode_grey(level) for level in range(0, 220, 10)]
    usual = read_images(model, images, Decoding(batch_size=4))
    caplog.clear()
    room = 5

    def refuse_many(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if len(kwargs["input_ids"]) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    model.network.decoder.register_forward_pre_hook(refuse_many, with_kwargs=True)
    for _ in range(2):  # the size that fits is remembered
        readings = read_images(model, images, Decoding(batch_size=16))
        assert [reading.text for reading in readings] == [reading.text for reading in usual]
    assert [record.message for record in caplog.records] == [
        "16 lines need more memory than the GPU has, reading 8 at a time",
        "8 lines need more memory than the GPU has, reading 4 at a time",
    ]
    room = 0
    with pytest.raises(ProductionError, match="needs more memory than the GPU has"):
        read_images(model, images)


def test_lines_of_like_width_share_a_batch_and_keep_their_order(model: OcrModel) -> None:
    batches: list[torch.Tensor] = []
    hook = model.network.encoder.register_forward_pre_hook(lambda _, args: batches.append(args[0]))
    levels, aspects = (40, 90, 140, 200), (9.0, 2.0, 8.0, 1.0)
    images = [encode_grey(level) for level in levels]
    readings = read_images(model, images, Decoding(batch_size=2), aspects=aspects)
    hook.remove()
    expected = make_pixel_values(model, [images[row] for row in (3, 1, 2, 0)])
    assert torch.equal(torch.cat(batches), expected)
    alone = [read_images(model, [image])[0] for image in images]
    assert [reading.text for reading in readings] == [reading.text for reading in alone]
    assert [reading.confidence for reading in readings] == pytest.approx(
        [reading.confidence for reading in alone], rel=1e-4
    )
