from itertools import product
from pathlib import Path

import pytest
import torch
from builders.standin_model import Decoder, Encoder, write_standin
from transformers import VisionEncoderDecoderModel

from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.training.steps import IGNORED_TOKEN, line_losses

torch.set_num_threads(1)

KINDS: list[tuple[Encoder, Decoder]] = list(
    product(("deit", "vit"), ("roberta", "trocr", "trocr-sinusoidal"))
)
TEXTS = ["값 7개", "1000 + 100 = 1100", "뷁", "탁자 한 개에 다섯 명씩"]


def make_labels(ocr: OcrModel) -> torch.Tensor:
    """Return the labels of TEXTS, filled up to one more token than the longest."""
    ids = ocr.encode_labels(TEXTS)
    longest = max(map(len, ids)) + 1
    return torch.tensor([row + [IGNORED_TOKEN] * (longest - len(row)) for row in ids])


def make_grey(seed: int = 0) -> torch.Tensor:
    """Return noise with three equal channels that share their memory."""
    noise = torch.randn(len(TEXTS), 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    return noise.expand(-1, 3, -1, -1)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize(("encoder", "decoder"), KINDS)
def test_loss_and_gradients_are_those_of_transformers(
    tmp_path: Path, encoder: Encoder, decoder: Decoder, is_shared: bool
) -> None:
    ocr = load_model(write_standin(tmp_path, encoder=encoder, decoder=decoder))
    if decoder == "trocr-sinusoidal":  # transformers itself loads its positions empty, but makes them well
        theirs = VisionEncoderDecoderModel(config=ocr.network.config)
        theirs.load_state_dict(ocr.network.state_dict())
    else:
        theirs = VisionEncoderDecoderModel.from_pretrained(tmp_path)
    theirs.eval()
    labels, pixel_values = make_labels(ocr), make_grey()
    expected = theirs(pixel_values=pixel_values.contiguous(), labels=labels).loss
    losses = line_losses(ocr.network, pixel_values if is_shared else pixel_values.contiguous(), labels)
    mean = losses.sum() / (labels != IGNORED_TOKEN).sum()
    assert mean.item() == pytest.approx(expected.item(), rel=1e-6)
    expected.backward()
    mean.backward()
    own = dict(ocr.network.named_parameters())
    for name, parameter in theirs.named_parameters():
        if parameter.grad is None:
            assert own[name].grad is None, name
        else:
            torch.testing.assert_close(own[name].grad, parameter.grad, rtol=1e-4, atol=1e-7)


def test_the_loss_of_a_line_does_not_depend_on_the_other_lines(tmp_path: Path) -> None:
    ocr = load_model(write_standin(tmp_path))
    labels, pixel_values = make_labels(ocr), make_grey()
    with torch.no_grad():
        together = line_losses(ocr.network, pixel_values, labels)
        for index, row in enumerate(labels):
            alone = row[row != IGNORED_TOKEN][None]
            [loss] = line_losses(ocr.network, pixel_values[index : index + 1], alone)
            assert float(loss) == pytest.approx(float(together[index]), rel=1e-5)


def test_a_line_without_a_token_has_no_loss(tmp_path: Path) -> None:
    ocr = load_model(write_standin(tmp_path))
    labels = make_labels(ocr)
    labels[1] = IGNORED_TOKEN
    losses = line_losses(ocr.network, make_grey(), labels)
    assert (losses == 0).tolist() == [False, True, False, False]


def test_the_network_gives_all_logits_again_afterwards(tmp_path: Path) -> None:
    ocr = load_model(write_standin(tmp_path))
    labels, pixel_values = make_labels(ocr), make_grey()
    line_losses(ocr.network, pixel_values, labels)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        line_losses(ocr.network, pixel_values[:, :, :, :8].contiguous()[:, :, :0], labels)
    inputs = torch.full(labels.shape, 5)
    assert ocr.network(pixel_values=pixel_values, decoder_input_ids=inputs).logits.shape[:2] == labels.shape


def test_a_wrapped_network_is_called_through_its_wrapper(tmp_path: Path) -> None:
    class Wrapper(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module, self.calls = module, 0

        def forward(self, **inputs: object) -> object:
            self.calls += 1
            return self.module(**inputs)

    ocr = load_model(write_standin(tmp_path))
    wrapper = Wrapper(ocr.network)
    labels, pixel_values = make_labels(ocr), make_grey()
    with torch.no_grad():
        losses = line_losses(wrapper, pixel_values, labels)
        assert torch.equal(losses, line_losses(ocr.network, pixel_values, labels))
    assert wrapper.calls == 1
