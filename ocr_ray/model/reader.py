"""A model as a reader of lines, loaded once per worker process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.model.facts import read_facts
from ocr_ray.model.line_reading import LineReading, ReadImages
from ocr_ray.model.long_lines import read_in_pieces
from ocr_ray.model.options import Decoding
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
    decoding: Decoding
    use_gpu: bool = False
    """Move the model to the GPU that Ray assigned to the worker."""

    def __call__(self, images: Sequence[bytes]) -> list[LineReading]:
        if self.decoding.max_aspect is None:
            return self._read(images)
        return read_in_pieces(self._read, images, self.decoding.max_aspect)

    def _read(self, images: Sequence[bytes]) -> list[LineReading]:
        from ocr_ray.model.precision import check_precision
        from ocr_ray.model.read import read_images

        model = _load(self.model, "cuda" if self.use_gpu else "cpu")
        check_precision(self.decoding.precision, model.device)
        return read_images(model, images, self.decoding)


def make_model_reader(
    model_uri: str, decoding: Decoding, *, use_gpu: bool = False, is_checked: bool = False
) -> LineReader:
    """Return a reader that uses a model, a folder or a hub id.

    With `use_gpu` it reads on a GPU; this function itself inspects the model on the CPU, unless it
    `is_checked`: then it is not loaded. Lines wider than `max_aspect` are read in pieces only.

    Raises:
        InputError: it cannot be loaded.
    """
    model = locate_model(model_uri)
    if is_checked:
        facts = read_facts(model)
    else:
        from ocr_ray.model.read import inspect_model

        facts = inspect_model(model)
    # Plans of readings in fp32, the only precision at first, do not name it.
    precision = {} if decoding.precision == "fp32" else {"precision": decoding.precision}
    return LineReader(
        read=ModelReader(model=model, decoding=decoding, use_gpu=use_gpu),
        label_column=facts.label_column,
        identity={"model_sha256": facts.sha256, "max_aspect": decoding.max_aspect, **precision},
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
