"""A model that reads images of lines, for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from ocr_ray.dataset.images import encode_as_file, name_image
from ocr_ray.model.load import OcrModel, load_model_to_read
from ocr_ray.model.options import Decoding, choose_precision
from ocr_ray.model.precision import read_capability
from ocr_ray.model.read import read_images
from ocr_ray.storage.location import locate_model


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognizedText:
    """What a model reads in one image."""

    text: str
    """NFC."""
    confidence: float
    """Mean probability of the tokens, from 0 to 1."""
    flags: tuple[str, ...] = ()
    """`reached_limit`: the text may be cut off at the model's length limit; `replacement_character`: it holds
    U+FFFD."""


class Recognizer:
    """A model on its device; `load_recognizer` makes one."""

    def __init__(self, model: OcrModel) -> None:
        self._model = model
        self._precision = choose_precision(read_capability(model.device))

    def read(
        self, images: Sequence[Image.Image | bytes | str | Path], batch_size: int | None = None
    ) -> list[RecognizedText]:
        """Return the reading of each image: a PIL image, the bytes of a PNG or JPEG file, or a path.

        Each image holds one line of print. `batch_size` images are read at a time; None: 16 on a CPU, 512 on
        a GPU, or as many as its memory holds.

        Raises:
            InputError: an image cannot be opened; the message names it.
        """
        names = [name_image(image, number) for number, image in enumerate(images)]
        encoded = list(map(encode_as_file, images, names))
        decoding = Decoding(batch_size=batch_size, precision=self._precision)
        readings = read_images(self._model, encoded, decoding, names=names)
        return [
            RecognizedText(text=reading.text, confidence=reading.confidence, flags=reading.flags)
            for reading in readings
        ]


def load_recognizer(model_uri: str, *, use_gpu: bool | None = None) -> Recognizer:
    """Return a model ready to read: a folder such as `models/best_ocr`, `s3://…`, or a Hugging Face hub id.

    It runs on a GPU if there is one; `use_gpu` decides otherwise. A GPU reads in bf16, an old one in fp16, a
    CPU in fp32.

    Raises:
        InputError: it cannot be loaded.

    Examples:
        >>> import ocr_ray
        >>> recognizer = ocr_ray.load_recognizer("models/best_ocr")
        >>> reading, = recognizer.read([ocr_ray.render_line("3 × 8 = 24")])
        >>> 0 <= reading.confidence <= 1
        True
    """
    model = load_model_to_read(locate_model(model_uri))
    on_gpu = torch.cuda.is_available() if use_gpu is None else use_gpu
    model.network.to("cuda" if on_gpu else "cpu").eval()
    return Recognizer(model)
