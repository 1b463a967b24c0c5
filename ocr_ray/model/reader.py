"""A model as a reader of lines, loaded once in each worker process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.model.long_lines import Reader, read_in_pieces
from ocr_ray.storage.location import Location, locate_model

if TYPE_CHECKING:
    from ocr_ray.model.load import OcrModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderChoice:
    """Who reads."""

    read: Reader
    """Is sent to the workers."""
    label_column: LabelColumn
    """What it gives: `text` as printed, or `markup`."""
    identity: dict[str, Any]
    """What decides its readings; part of the plan."""
    files: tuple[Location, ...] = ()
    """The folders that every node must see for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReader:
    """A model that reads lines; each worker process loads it once, on first use."""

    model: Location | str
    """A folder, or a hub id."""
    batch_size: int
    max_aspect: float | None
    use_gpu: bool = False
    """The model is moved to the GPU that Ray gave the worker."""

    def __call__(self, images: Sequence[bytes]) -> tuple[list[str], list[float]]:
        if self.max_aspect is None:
            return self._read(images)
        return read_in_pieces(self._read, images, self.max_aspect)

    def _read(self, images: Sequence[bytes]) -> tuple[list[str], list[float]]:
        from ocr_ray.model.options import Decoding
        from ocr_ray.model.read import read_images

        model = _load(self.model, "cuda" if self.use_gpu else "cpu")
        return read_images(model, images, Decoding(batch_size=self.batch_size))


def choose_model(
    model_uri: str, *, batch_size: int, max_aspect: float | None, use_gpu: bool = False
) -> ReaderChoice:
    """Return a model, a folder or a hub id, as a reader of `batch_size` lines at once.

    Lines wider than `max_aspect` times their height are read in pieces; None: none is. With `use_gpu` it
    reads on a GPU; here it is only looked at, on the CPU.

    Raises:
        InputError: it cannot be loaded.
    """
    from ocr_ray.model.read import inspect_model

    model = locate_model(model_uri)
    facts = inspect_model(model)
    return ReaderChoice(
        read=ModelReader(model=model, batch_size=batch_size, max_aspect=max_aspect, use_gpu=use_gpu),
        label_column=facts.label_column,
        identity={"model_sha256": facts.sha256, "max_aspect": max_aspect},
        files=() if isinstance(model, str) else (model,),
    )


_loaded: "dict[tuple[str, str], OcrModel]" = {}


def _load(source: Location | str, device: str) -> "OcrModel":
    """Return a model on a device; a process loads it once."""
    from ocr_ray.model.load import load_model, model_files

    key = (source if isinstance(source, str) else source.uri, device)
    if key not in _loaded:
        _loaded.clear()
        with model_files(source) as folder:
            _loaded[key] = load_model(folder)
        _loaded[key].network.to(device).eval()
    return _loaded[key]
