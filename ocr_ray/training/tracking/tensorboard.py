"""The TensorBoard event file of a run, written with tensorboardX."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tensorboardX import SummaryWriter

from ocr_ray.storage.location import Location, list_files, read_bytes, translate_errors, write_bytes
from ocr_ray.training.tracking.curves import Record

PREFIX = "events.out.tfevents."
_AXES = frozenset({"kind", "epoch", "lines", "step", "seconds"})


def make_events(history: Sequence[Record]) -> bytes:
    """Return an event file with the scalars of a history; steps are lines trained on.

    Wall times are the seconds of training so far, counted from 1970. Apart from the header, whose length is
    fixed, the file of a longer history starts with the bytes of the file of a shorter one.
    """
    with tempfile.TemporaryDirectory(prefix="ocr_ray-events-") as folder:
        # `purge_step` makes an open TensorBoard forget the older files of this run.
        with SummaryWriter(folder, purge_step=0) as writer:
            for record in history:
                for tag, value in name_tags(record).items():
                    writer.add_scalar(tag, value, int(record["lines"]), walltime=float(record["seconds"]))
        (file,) = Path(folder).iterdir()
        return file.read_bytes()


def name_tags(record: Record) -> dict[str, float]:
    """Return the metrics of a record by tag; TensorBoard groups tags by the part before the first slash.

    `loss` of a training record becomes `train/loss`, `crops/validation_cer` becomes `validation_cer/crops`.
    """
    tags = {}
    for key, value in record.items():
        if key in _AXES or not isinstance(value, int | float):
            continue
        dataset, slash, name = key.rpartition("/")
        tags[f"train/{key}" if record["kind"] == "train" else f"{name}{slash}{dataset}"] = float(value)
    return tags


def write_events(folder: Location, content: bytes) -> None:
    """Update the last event file of a folder to `content`.

    TensorBoard keeps the file open, so a file on disk that `content` continues is appended to. If the file
    holds other events, as after resuming from an older checkpoint, it is reduced to its header and `content`
    becomes the file with the next number. TensorBoard then goes on to that file, which it would not do if the
    old one were deleted.
    """
    sizes = {
        name: size for name, size in list_files(folder, recursive=False).items() if name.startswith(PREFIX)
    }
    name = max(sizes, default=f"{PREFIX}{0:08d}")
    existing = read_bytes(folder / name) if sizes else b""
    header = make_events([])
    if not content[len(header) :].startswith(existing[len(header) :]):
        name, existing = f"{PREFIX}{int(name.removeprefix(PREFIX)) + 1:08d}", b""
    if len(existing) >= len(header) and folder.is_local:
        with translate_errors(folder / name), Path((folder / name).path).open("ab") as file:
            file.write(content[len(existing) :])
    else:
        write_bytes(folder / name, content)
    for old, size_bytes in sizes.items():
        if old != name and size_bytes != len(header):
            write_bytes(folder / old, header)
