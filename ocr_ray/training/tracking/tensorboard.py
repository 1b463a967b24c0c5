"""The event file of a run, which TensorBoard reads: https://www.tensorflow.org/tutorials/load_data/tfrecord."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from ocr_ray.storage.location import Location, list_files, read_bytes, write_bytes

PREFIX = "events.out.tfevents."
_AXES = frozenset({"kind", "epoch", "lines", "step", "seconds"})


def make_events(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the event file of a history: an event for each record, at the lines trained on until then.

    Its times are the seconds of training until then, counted from 1970. A longer history's file begins with
    the shorter one's bytes.
    """
    head = [
        Event(file_version="brain.Event:2"),
        # An open TensorBoard then forgets what it has read of this run in a file that is there no longer.
        Event(session_log=SessionLog(status=SessionLog.START)),
    ]
    return b"".join(_frame(event.SerializeToString()) for event in [*head, *map(_make_event, history)])


def name_tags(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a record by their tags; what stands before the first slash is shown together.

    `loss` of a record of training is `train/loss`, `crops/validation_cer` is `validation_cer/crops`.
    """
    tags = {}
    for key, value in record.items():
        if key in _AXES or not isinstance(value, int | float):
            continue
        dataset, slash, name = key.rpartition("/")
        tags[f"train/{key}" if record["kind"] == "train" else f"{name}{slash}{dataset}"] = float(value)
    return tags


def write_events(folder: Location, content: bytes) -> None:
    """Make the last event file of a folder hold `content`.

    A file on a disk that `content` begins with grows at its end, because TensorBoard keeps it open. One that
    holds anything else is emptied, and one with the next number written, which TensorBoard opens anew; it
    would never do so if the one that it reads were gone.
    """
    sizes = {
        name: size for name, size in list_files(folder, recursive=False).items() if name.startswith(PREFIX)
    }
    name = max(sizes, default=f"{PREFIX}{0:08d}")
    there = read_bytes(folder / name) if sizes else b""
    if not content.startswith(there):
        name, there = f"{PREFIX}{int(name.removeprefix(PREFIX)) + 1:08d}", b""
    if there and folder.is_local:
        with Path((folder / name).path).open("ab") as file:
            file.write(content[len(there) :])
    elif content != there:
        write_bytes(folder / name, content)
    empty = make_events([])
    for old, size_bytes in sizes.items():
        if old != name and size_bytes != len(empty):
            write_bytes(folder / old, empty)


def _make_event(record: Mapping[str, Any]) -> Event:
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in name_tags(record).items()]
    return Event(wall_time=float(record["seconds"]), step=int(record["lines"]), summary=Summary(value=values))


def _frame(content: bytes) -> bytes:
    """Return a TFRecord: length, its checksum, content, its checksum."""
    length = struct.pack("<Q", len(content))
    checksums = (struct.pack("<I", masked_crc32c(part)) for part in (length, content))
    return length + next(checksums) + content + next(checksums)
