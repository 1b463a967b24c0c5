"""A model as a reader of lines, loaded once per worker process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.model.facts import read_facts
from ocr_ray.model.line_reading import LineReading, ReadImages
from ocr_ray.model.long_lines import read_in_pieces
from ocr_ray.storage.location import Location, locate_model

if TYPE_CHECKING:
    from ocr_ray.model.load import OcrModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReader:
    """A reader of lines with what the plan of a job needs to know about it."""

    read: ReadImages
    """Sent to the workers."""
    label_column: LabelColumn
    """The kind of text it returns: `text` as printed, or `markup`."""
    identity: dict[str, Any]
    """Everything that determines its output; part of the plan."""
    files: tuple[Location, ...] = ()
    """The folders that every node must be able to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReader:
    """Reads lines with a model, which each worker process loads once, on first use."""

    model: Location | str
    """A folder, or a hub id."""
    batch_size: int | None
    max_aspect: float | None
    use_gpu: bool = False
    """Move the model to the GPU that Ray assigned to the worker."""

    def __call__(self, images: Sequence[bytes]) -> list[LineReading]:
        if self.max_aspect is None:
            return self._read(images)
        return read_in_pieces(self._read, images, self.max_aspect)

    def _read(self, images: Sequence[bytes]) -> list[LineReading]:
        from ocr_ray.model.options import Decoding
        from ocr_ray.model.read import read_images

        model = _load(self.model, "cuda" if self.use_gpu else "cpu")
        return read_images(model, images, Decoding(batch_size=self.batch_size))


def make_model_reader(
    model_uri: str,
    *,
    batch_size: int | None,
    max_aspect: float | None,
    use_gpu: bool = False,
    is_checked: bool = False,
) -> LineReader:
    """Return a reader that uses a model, a folder or a hub id.

    It reads batches of `batch_size` lines, or of as many as suit the device. Lines wider than `max_aspect`
    times their height are read in pieces; None: no line is. With `use_gpu` it reads on a GPU; this function
    itself inspects the model on the CPU, unless it `is_checked`: then it is not loaded.

    Raises:
        InputError: it cannot be loaded.
    """
    model = locate_model(model_uri)
    if is_checked:
        facts = read_facts(model)
    else:
        from ocr_ray.model.read import inspect_model

        facts = inspect_model(model)
    return LineReader(
        read=ModelReader(model=model, batch_size=batch_size, max_aspect=max_aspect, use_gpu=use_gpu),
        label_column=facts.label_column,
        identity={"model_sha256": facts.sha256, "max_aspect": max_aspect},
        files=() if isinstance(model, str) else (model,),
    )


_loaded: "dict[tuple[str, str], OcrModel]" = {}


def _load(source: Location | str, device: str) -> "OcrModel":
    """Return a model on a device; the process keeps the model that it loaded last."""
    from ocr_ray.model.load import load_model_to_read

    key = (source if isinstance(source, str) else source.uri, device)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load_model_to_read(source, is_checked=True)
        _loaded[key].network.to(device).eval()
    return _loaded[key]
