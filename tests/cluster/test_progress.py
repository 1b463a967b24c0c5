import logging

from ocr_ray.cluster.progress import Progress
from ocr_ray.dataset.lines import PartSpec, PartStats


def part(index: int, rows: int, rejects: int) -> PartStats:
    spec = PartSpec(split="train", index=index, start=0, stop=rows)
    return PartStats(
        spec=spec,
        rows=rows,
        rows_sha256="",
        digest_sum="",
        rejects={"missing_glyph": rejects} if rejects else {},
    )


def test_progress_is_logged_every_ten_seconds_and_at_the_end(caplog) -> None:
    caplog.set_level(logging.INFO)
    times = iter([100.0, 104.0, 112.0, 113.0, 121.9, 122.0, 123.0])
    progress = Progress("lines", num_parts=206, num_pending=6, clock=lambda: next(times))
    for index in range(6):
        progress.add(part(index, 600, index))
    assert caplog.messages == [
        "lines: 202 of 206 parts, 100 lines/s, 0:00:24 left, 1 rejects",
        "lines: 205 of 206 parts, 136 lines/s, 0:00:04 left, 10 rejects",
        "lines: 206 of 206 parts, 157 lines/s, 0:00:00 left, 15 rejects",
    ]


def test_a_single_part_is_the_last_one(caplog) -> None:
    caplog.set_level(logging.INFO)
    times = iter([0.0, 3600.0])
    Progress("lines", num_parts=1, num_pending=1, clock=lambda: next(times)).add(part(0, 0, 0))
    assert caplog.messages == ["lines: 1 of 1 parts, 0 lines/s, 0:00:00 left, 0 rejects"]
