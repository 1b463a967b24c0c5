"""The feed: batches of lines in one global order, each line exactly once an epoch, for any number of ranks.

The order of an epoch depends on the seed, the epoch and the datasets alone. Batch b of all ranks together is
the next `batch_size * world_size` lines of it, and rank r takes every `world_size`-th of them.

Memory: lines are shuffled in windows of 32 row groups. A rank holds its own lines of two windows as encoded
images, four row groups while they are read, and four finished batches: with row groups of 256 lines of 22 kB
and batches of 16 about 360 MB / world_size + 23 MB + 110 MB, however large the datasets are. Every rank reads
all row groups: `world_size` times the datasets are read in an epoch.
"""

import io
from collections import defaultdict, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from ocr_ray.errors import InputError
from ocr_ray.lines import LabelColumn
from ocr_ray.storage import Location
from ocr_ray.training.model import OcrModel
from ocr_ray.training.splits import RowGroup, Split, iter_windows, read_columns

T = TypeVar("T")

READ_THREADS = 4
BATCHES_AHEAD = 4
IGNORED_TOKEN = -100
"""Fills up labels; transformers and PyTorch leave it out of the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineDataset:
    """A dataset of lines with its splits."""

    name: str
    """What metrics and messages call it."""
    place: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one rank trains on in one step; N is 0 for a rank that the last lines did not reach."""

    pixel_values: torch.Tensor
    """Shape (N, 3, H, W), float32."""
    labels: torch.Tensor
    """Shape (N, T), int64, filled up with -100."""
    texts: list[str]
    """The labels before they were encoded."""
    line_ids: list[str]
    sources: list[str]
    positions: list[int]
    """In the global order of the epoch."""

    @property
    def num_tokens(self) -> int:
        return int((self.labels != IGNORED_TOKEN).sum())

    def __len__(self) -> int:
        return len(self.line_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    position: int
    dataset: str
    line_id: str
    image_bytes: bytes
    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Batches of one rank over the lines of some splits together."""

    splits: tuple[Split, ...]
    ocr: OcrModel
    batch_size: int
    """Of one rank."""
    rank: int = 0
    world_size: int = 1
    seed: int = 0
    label_column: LabelColumn = "text"

    @property
    def num_lines(self) -> int:
        """Of all ranks together."""
        return sum(split.num_lines for split in self.splits)

    @property
    def num_batches(self) -> int:
        """In an epoch; the same for every rank."""
        return -(-self.num_lines // (self.batch_size * self.world_size))

    def batches(self, epoch: int | None = None) -> Iterator[Batch]:
        """Give the batches of an epoch, shuffled for it, or in the splits' own order without one.

        Reading, decoding and encoding happen in background threads, which end with the iterator.

        Raises:
            InputError: a label has more tokens than the decoder has positions.
        """
        return _read_ahead(self._make_batches(epoch), BATCHES_AHEAD)

    def _make_batches(self, epoch: int | None) -> Generator[Batch, None, None]:
        with closing(self._read_lines(epoch)) as lines:
            for _ in range(self.num_batches):
                yield make_batch(self.ocr, list(islice(lines, self.batch_size)))

    def _read_lines(self, epoch: int | None) -> Generator[_Line, None, None]:
        """Give this rank's lines in order, reading one window ahead."""
        groups = [(split.name, group) for split in self.splits for group in split.row_groups]
        row_counts = [group.num_lines for _, group in groups]
        pool = ThreadPoolExecutor(READ_THREADS)
        ahead: deque[list[Future[list[_Line]]]] = deque()
        start = 0
        try:
            for lines in iter_windows(row_counts, seed=self.seed, epoch=epoch):
                positions = np.arange(start, start + len(lines))
                mine = positions % self.world_size == self.rank
                wanted: defaultdict[int, dict[int, int]] = defaultdict(dict)
                for (group, row), position in zip(
                    lines[mine].tolist(), positions[mine].tolist(), strict=True
                ):
                    wanted[group][row] = position
                ahead.append(
                    [
                        pool.submit(_read_row_group, *groups[group], rows, self.label_column)
                        for group, rows in wanted.items()
                    ]
                )
                start += len(lines)
                if len(ahead) == 2:
                    yield from _in_order(ahead.popleft())
            while ahead:
                yield from _in_order(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(reads: Sequence[Future[list[_Line]]]) -> list[_Line]:
    return sorted((line for read in reads for line in read.result()), key=lambda line: line.position)


def _read_row_group(
    dataset: str, group: RowGroup, positions: dict[int, int], label_column: LabelColumn
) -> list[_Line]:
    """Return the lines of a row group whose rows are the keys of `positions`."""
    table = read_columns(group, ["line_id", "image.bytes", label_column, "source"])
    rows = list(positions)
    return [
        _Line(
            position=positions[row],
            dataset=dataset,
            line_id=values["line_id"],
            image_bytes=values["image"]["bytes"],
            text=values[label_column],
            source=values["source"],
        )
        for row, values in zip(rows, table.take(rows).to_pylist(), strict=True)
    ]


def make_batch(ocr: OcrModel, lines: Sequence[_Line]) -> Batch:
    """Return the lines as tensors, pixels as the model's own image processor makes them from RGB."""
    labels = ocr.encode_labels([line.text for line in lines])
    _require_short(ocr, lines, labels)
    longest = max(map(len, labels), default=0)
    return Batch(
        pixel_values=make_pixel_values(ocr, [line.image_bytes for line in lines]),
        labels=torch.tensor(
            [ids + [IGNORED_TOKEN] * (longest - len(ids)) for ids in labels], dtype=torch.int64
        ).reshape(len(lines), longest),
        texts=[line.text for line in lines],
        line_ids=[line.line_id for line in lines],
        sources=[line.source for line in lines],
        positions=[line.position for line in lines],
    )


def make_pixel_values(ocr: OcrModel, images: Sequence[bytes]) -> torch.Tensor:
    """Return encoded images as the model's input, shape (N, 3, H, W), float32.

    It is what the model's own image processor makes of them in RGB; it would take the height of a bare (H, W)
    array for its channels. Where it only resizes, rescales and normalises, grey is resized once instead of
    three times and its 256 levels are looked up: the same bits in a fifth of the time.
    """
    if not images:
        return torch.zeros(0, 3, 1, 1)
    decoded = [Image.open(io.BytesIO(image)) for image in images]
    processor = ocr.image_processor
    if not _maps_levels(processor) or any(image.mode != "L" for image in decoded):
        return _process([image.convert("RGB") for image in decoded], processor)
    size = (processor.size["width"], processor.size["height"])
    levels = _process(
        [Image.frombytes("L", (256, 1), bytes(range(256))).convert("RGB")], processor, do_resize=False
    )
    table = levels[0, :, 0, :].numpy()  # channel, level
    pixel_values = np.empty((len(decoded), len(table), size[1], size[0]), dtype=np.float32)
    for index, image in enumerate(decoded):
        grey = np.asarray(image.resize(size, processor.resample))
        for channel, values in enumerate(table):
            np.take(values, grey, out=pixel_values[index, channel], mode="clip")  # "raise" would copy
    return torch.from_numpy(pixel_values)


def _maps_levels(processor: Any) -> bool:
    """Return whether pixels are mapped one by one after a resize to a fixed size."""
    known = type(processor).__name__ in ("DeiTImageProcessorPil", "ViTImageProcessorPil")
    crops_or_pads = getattr(processor, "do_center_crop", None) or getattr(processor, "do_pad", None)
    size = processor.size
    return bool(
        known and processor.do_resize and not crops_or_pads and size.get("height") and size.get("width")
    )


def _process(images: Sequence[Image.Image], processor: Any, **options: Any) -> torch.Tensor:
    pixel_values: torch.Tensor = processor(images=images, return_tensors="pt", **options)["pixel_values"]
    return pixel_values


def _require_short(ocr: OcrModel, lines: Sequence[_Line], labels: Sequence[Sequence[int]]) -> None:
    for line, ids in zip(lines, labels, strict=True):
        if len(ids) > ocr.max_target_tokens:
            raise InputError(
                f"a label must have at most {ocr.max_target_tokens} tokens, "
                f"line {line.line_id} of {line.dataset} has {len(ids)}"
            )


def check_labels(ocr: OcrModel, split: Split, label_column: LabelColumn) -> int:
    """Return the tokens of the longest label; reads no images.

    Raises:
        InputError: labels have more tokens than the decoder has positions; counted, and the longest named.
    """
    num_long, longest, longest_id = 0, 0, ""
    for group in split.row_groups:
        table = read_columns(group, ["line_id", label_column])
        lengths = [len(ids) for ids in ocr.encode_labels(table[label_column].to_pylist())]
        num_long += sum(length > ocr.max_target_tokens for length in lengths)
        if max(lengths) > longest:
            longest = max(lengths)
            longest_id = table["line_id"][lengths.index(longest)].as_py()
    if num_long:
        raise InputError(
            f"a label must have at most {ocr.max_target_tokens} tokens: {num_long} of the "
            f"{split.num_lines} lines of {split.name} have more in column {label_column}, "
            f"line {longest_id} has {longest}; leave them out or take a model with more positions"
        )
    return longest


def _read_ahead(items: Generator[T, None, None], depth: int) -> Iterator[T]:
    """Give the items of a generator that runs in a thread of its own, `depth` items ahead."""
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        pending = deque(pool.submit(next, items, end) for _ in range(depth))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()
