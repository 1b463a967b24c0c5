"""The tracking files of a run, read with other code than the code that wrote them."""

import io
import json
import logging
import struct
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ocr_ray.storage.location import Location, list_files, locate, read_bytes
from ocr_ray.training.tracking.curves import draw_curves, smooth
from ocr_ray.training.tracking.tensorboard import make_events
from ocr_ray.training.tracking.tracker import Tracker, format_progress, write_tracking

Record = dict[str, Any]
FILES = ["curves.png", "metrics.jsonl", "samples.jsonl", "tensorboard/events.out.tfevents.00000000"]


def train_record(lines: int, **values: Any) -> Record:
    metrics = {"lr": 5e-5, "loss": 2.5, "lines_per_second": 100.0, "feed_wait_share": 0.25}
    position = {"epoch": 1 + (lines - 1) // 1000, "lines": lines, "step": lines // 10, "seconds": lines / 100}
    return {"kind": "train", **position, **metrics, **values}


def validation_record(lines: int, **values: Any) -> Record:
    metrics = {"validation_loss": 1.5, "validation_cer": 0.5, "crops/validation_cer": 0.75, "is_best": 1}
    return {**train_record(lines), "kind": "validation", **metrics, **values}


def make_history(num_epochs: int) -> list[Record]:
    history = []
    for end in range(1000, 1000 * num_epochs + 1, 1000):
        history += [train_record(end - 500, loss=end / 512), train_record(end), validation_record(end)]
    return history


def make_samples(*lines: int) -> list[Record]:
    return [
        {"lines": n, "dataset": "a", "line_id": "7", "truth": "탁자 7개", "prediction": "탁"} for n in lines
    ]


def crc32c(content: bytes) -> int:
    """The Castagnoli checksum, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read_records(content: bytes) -> list[bytes]:
    """Return what the TFRecords of a file hold, their checksums compared."""

    def unmask(masked: int) -> int:
        rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
        return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF

    records, file = [], io.BytesIO(content)
    while header := file.read(12):
        length, masked = struct.unpack("<QI", header)
        assert unmask(masked) == crc32c(header[:8])
        records.append(file.read(length))
        assert unmask(struct.unpack("<I", file.read(4))[0]) == crc32c(records[-1])
    return records


def read_varint(file: io.BytesIO) -> int:
    value, shift = 0, 0
    while True:
        byte = file.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def read_message(content: bytes) -> dict[int, list[Any]]:
    """Return the values of a protocol buffer by the numbers of its fields."""
    fields: dict[int, list[Any]] = {}
    file = io.BytesIO(content)
    while file.tell() < len(content):
        number, wire = divmod(read_varint(file), 8)
        value: Any
        if wire == 0:
            value = read_varint(file)
        elif wire == 2:
            value = file.read(read_varint(file))
        else:
            form = {1: "<d", 5: "<f"}[wire]
            (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
        fields.setdefault(number, []).append(value)
    return fields


def read_points(content: bytes) -> dict[str, list[tuple[int, float, float]]]:
    """Return (step, wall time, value) of each tag; numbers of fields as in TensorFlow's event.proto."""
    points: dict[str, list[tuple[int, float, float]]] = {}
    for event in map(read_message, read_records(content)):
        for summary in event.get(5, []):
            for value in map(read_message, read_message(summary)[1]):
                (tag,), (number,) = value[1], value.get(2, [0.0])
                position = event.get(2, [0])[0], event.get(1, [0.0])[0]
                points.setdefault(tag.decode(), []).append((*position, number))
    return points


def read_files(folder: Location) -> dict[str, bytes]:
    return {name: read_bytes(folder / name) for name in list_files(folder)}


def test_the_checksum_of_these_tests_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_an_event_file_holds_each_metric_at_the_lines_and_seconds_of_its_record() -> None:
    content = make_events([train_record(500), validation_record(1000, note="no number"), train_record(1500)])
    version, *events = map(read_message, read_records(content))
    assert version[3] == [b"brain.Event:2"]
    assert [read_message(event[7][0]) for event in events if 7 in event] == [{1: [1]}]  # SessionLog.START
    points = read_points(content)
    assert points["train/loss"] == [(500, 5.0, 2.5), (1500, 15.0, 2.5)]
    assert points["train/feed_wait_share"] == [(500, 5.0, 0.25), (1500, 15.0, 0.25)]
    assert points["validation_cer"] == [(1000, 10.0, 0.5)]
    assert points["validation_cer/crops"] == [(1000, 10.0, 0.75)]
    of_training = {"lr", "loss", "lines_per_second", "feed_wait_share"}
    of_validation = {*of_training, "validation_loss", "validation_cer", "validation_cer/crops", "is_best"}
    assert points.keys() == of_validation | {f"train/{name}" for name in of_training}


HEADER_BYTES = len(make_events([]))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9), st.integers(0, 9))
def test_after_its_header_a_longer_event_file_starts_with_the_shorter_one(first: int, second: int) -> None:
    history = make_history(3)
    shorter, longer = (make_events(history[:end])[HEADER_BYTES:] for end in sorted((first, second)))
    assert longer.startswith(shorter)


def without_header(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files without the headers of event files, which hold the time of their writing."""
    return {
        name: content[HEADER_BYTES:] if "tfevents" in name else content for name, content in files.items()
    }


def test_files_hold_the_whole_history_once_whatever_was_written_before(tmp_path: Path) -> None:
    history, samples = make_history(2), make_samples(1000, 2000)
    together, step_by_step = locate(str(tmp_path / "a")), locate(str(tmp_path / "b"))
    write_tracking(together, history, samples)
    for end in range(len(history) + 1):
        write_tracking(step_by_step, history[:end], samples[: end // 3])
    files = read_files(together)
    assert without_header(files) == without_header(read_files(step_by_step))
    assert sorted(files) == FILES
    assert [json.loads(line) for line in files["metrics.jsonl"].splitlines()] == history
    assert [json.loads(line) for line in files["samples.jsonl"].splitlines()] == samples
    assert "탁자".encode() in files["samples.jsonl"]
    assert [step for step, *_ in read_points(files[FILES[3]])["train/loss"]] == [500, 1000, 1500, 2000]


@pytest.mark.parametrize("where", ["disk", "S3"])
def test_a_history_that_continues_differently_replaces_the_lost_records(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = str(tmp_path / "run") if where == "disk" else request.getfixturevalue("bucket") + "/tracked/run"
    run = locate(uri)
    history = make_history(3)
    lost = [*history[:4], train_record(2000, seconds=99.0)]
    for written in (history[:4], lost, history[:5], history):
        write_tracking(run, written, [])
    files = read_files(run)
    # The first write after the loss started the second file; the last one appended to it.
    assert sorted(files) == [*FILES, "tensorboard/events.out.tfevents.00000001"]
    assert read_points(files[FILES[3]]) == {}
    points = read_points(files["tensorboard/events.out.tfevents.00000001"])
    assert points == read_points(make_events(history))
    assert [point[0] for point in points["train/loss"]] == [*range(500, 3001, 500)]


def test_a_reader_that_has_the_event_file_open_reads_on_when_it_grows(tmp_path: Path) -> None:
    history = make_history(2)
    write_tracking(locate(str(tmp_path)), history[:2], [])
    with (tmp_path / FILES[3]).open("rb") as file:
        before = file.read()
        write_tracking(locate(str(tmp_path)), history, [])
        after = file.read()
    assert before[HEADER_BYTES:] == make_events(history[:2])[HEADER_BYTES:]
    assert read_points(before + after) == read_points(make_events(history))


@pytest.mark.parametrize("kept", [0, 50, HEADER_BYTES, -9])
def test_an_event_file_that_was_cut_off_is_completed(tmp_path: Path, kept: int) -> None:
    history = make_history(2)
    write_tracking(locate(str(tmp_path)), history[:4], [])
    events = tmp_path / FILES[3]
    events.write_bytes(events.read_bytes()[:kept])
    write_tracking(locate(str(tmp_path)), history, [])
    assert read_points(events.read_bytes()) == read_points(make_events(history))


def test_curves_are_the_same_picture_each_time_and_change_with_any_curve() -> None:
    history = make_history(3)
    picture = draw_curves(history)
    assert draw_curves(history) == picture
    assert Image.open(io.BytesIO(picture)).size == (1200, 750)
    for key in ("loss", "lr", "lines_per_second", "feed_wait_share"):
        assert draw_curves([{**history[0], key: history[0][key] * 0.9}, *history[1:]]) != picture, key
    for key in ("validation_cer", "crops/validation_cer", "validation_loss", "is_best"):
        assert draw_curves([*history[:-1], {**history[-1], key: 0.1 * (key != "is_best")}]) != picture, key


def test_the_one_dataset_that_is_all_of_the_validation_is_drawn_once() -> None:
    alone = [validation_record(1000, **{"crops/validation_cer": 0.5})]
    renamed = [{key.replace("crops", "other"): value for key, value in alone[0].items()}]
    assert draw_curves(alone) == draw_curves(renamed)
    apart = [{**record, "crops/validation_cer": 0.25} for record in (*alone, *renamed)]
    assert draw_curves(apart[:1]) != draw_curves(apart[1:])


def test_a_smoothed_loss_is_the_mean_around_each_value_and_has_no_lag() -> None:
    assert smooth([]) == []
    assert smooth([4.0, 1.0, 1.0, 7.0]) == [4.0, 2.0, 3.0, 7.0]
    line = [float(number) for number in range(100)]
    assert smooth(line) == line
    noisy = smooth([(-1.0) ** number for number in range(401)])
    assert max(map(abs, noisy[10:-10])) <= 1 / 21


def test_curves_accept_any_dataset_name_and_an_empty_history() -> None:
    names = ["_under", "$a$ ^_^", "문제", "\U00020000 \x07", "a/b"]
    pictures = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.add(draw_curves([]))
        for name in names:
            pictures.add(draw_curves([validation_record(1000, **{f"{name}/validation_cer": 0.3})]))
    assert len(pictures) == 1 + len(names)


def test_progress_includes_the_time_left() -> None:
    # 12,288 of the second epoch: 107,712 lines are left, at 1,204 a second 89.46 s.
    record = train_record(
        42_288, epoch=2, loss=0.4118, lines_per_second=1204.4, feed_wait_share=0.0028, seconds=42_288 / 1204.4
    )
    expected = "epoch 2 of 5: 12,288 of 30,000 lines, loss 0.412, 1,204 lines/s, data wait 0.3 %, "
    assert format_progress([record], epochs=5, lines_per_epoch=30_000) == expected + "00:01:29 left"
    # With 30 s of validation after the first 30,000 lines: 107.7 s more.
    history = [
        train_record(30_000, lines_per_second=1204.4),
        validation_record(30_000),
        {**record, "seconds": record["seconds"] + 30},
    ]
    assert format_progress(history, epochs=5, lines_per_epoch=30_000) == expected + "00:03:17 left"


@pytest.mark.parametrize(
    ("lines", "epochs", "left"), [(1000, 1, "00:00:00"), (1, 1, "00:16:39"), (1, 100_000, "27:46:40")]
)
def test_progress_counts_hours_and_ends_at_zero(lines: int, epochs: int, left: str) -> None:
    rate = 1000.0 if epochs > 1 else 1.0
    record = train_record(lines, lines_per_second=rate, seconds=lines / rate)
    assert format_progress([record], epochs=epochs, lines_per_epoch=1000).endswith(f" {left} left")


def count_records(folder: Path) -> int:
    return len((folder / "metrics.jsonl").read_text().splitlines())


def wait_for(tracker: Tracker) -> None:
    tracker._pool.submit(int).result()  # its one thread takes what is written first


def test_a_tracker_writes_first_after_validations_and_seldom_in_between(tmp_path: Path) -> None:
    now_s, history = 0, make_history(2)
    tracker = Tracker(locate(str(tmp_path)), clock=lambda: now_s)
    seen = []
    for end, seconds in ((1, 0), (2, 9), (3, 0), (4, 9), (5, 2)):
        now_s += seconds
        tracker.update(history[:end], [])
        wait_for(tracker)
        seen.append(count_records(tmp_path))
    # The second comes nine seconds after the first, the third is a validation, the fifth 11 s after it.
    assert seen == [1, 1, 3, 3, 5]
    tracker.update(history, [])
    tracker.close()
    assert count_records(tmp_path) == 6


def test_a_tracker_writes_the_latest_history_when_it_is_closed(tmp_path: Path) -> None:
    tracker = Tracker(locate(str(tmp_path)), clock=lambda: 0.0)
    for end in (1, 2):
        tracker.update(make_history(1)[:end], make_samples(1000))
    tracker.close()
    assert count_records(tmp_path) == 2


def test_a_write_that_fails_is_logged_once_and_the_next_one_writes_everything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    run.write_text("a file where the folder must be")
    tracker = Tracker(locate(str(run)), clock=lambda: 0.0)
    with caplog.at_level(logging.WARNING):
        tracker.update(make_history(1), [])
        wait_for(tracker)
        tracker.update(make_history(1), [])
        wait_for(tracker)
    (message,) = [message for message in caplog.messages if message.startswith("metrics.jsonl of ")]
    assert f"{run} failed, the job goes on without: " in message
    run.unlink()
    tracker.update(make_history(2), [])
    tracker.close()
    assert count_records(run) == 6


def test_a_file_that_cannot_be_made_does_not_end_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """NaN is no JSON; the other files are written."""
    tracker = Tracker(locate(str(tmp_path)))
    tracker.update([train_record(1, loss=float("nan"))], [])
    tracker.close()
    assert "metrics.jsonl" not in list_files(locate(str(tmp_path)))
    assert {"samples.jsonl", "curves.png"} < set(list_files(locate(str(tmp_path))))
    assert "loss is nan" in caplog.text
