"""Data loader: steps of lines in one global order, each line exactly once an epoch, for any number of ranks.

The order of an epoch (see `order`) depends only on the seed, the epoch, the datasets and the global batch
size. Step s is the next `global_batch_size` lines of it; rank r takes the lines at positions p with
p % world_size == r, in batches of `batch_size` by ascending position. A step is the same set of lines for any
number of ranks, and training can resume after any step, also with another number of ranks.

4 threads read row groups as whole column chunks, 1,024 lines of the rank ahead of the batches; `threads`
others make batches, at least 8 batches, one for each thread, and 2 steps before they are used.

Memory does not grow with the datasets. A rank holds encoded images of its 24 / gcd(world_size, 24) shuffle
streams, two partly used row groups each, and of the lines read ahead. With row groups of 256 lines of 22 kB
(PNG; JPEG takes half) a process grew by 370 MB at world size 1 (225 MB of it images), 210 MB at 4 and 580 MB
at 5: where the number of ranks does not divide 24, a rank also holds lines of other ranks. Sorting by length
at most doubles the row groups. With mixture weights each dataset takes that much, except a small one of fewer
than 48 row groups, which is held whole. Batches made ahead take 147 kB a line.

For validation (epoch None) every rank reads all row groups in file order and holds two.
"""

import math
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ocr_ray.dataset.images import open_line_image
from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.errors import InputError
from ocr_ray.model.load import OcrModel
from ocr_ray.model.pixels import make_pixels
from ocr_ray.training.data.order import NUM_STREAMS, SMALL_ROW_GROUPS, WINDOW_ROW_GROUPS, IntArray, LineOrder
from ocr_ray.training.data.row_groups import PendingLine, RowGroupReader, Split, StoredLine

READ_THREADS = 4
LINES_READ_AHEAD = 1024
BATCHES_AHEAD = 8
STEPS_AHEAD = 2
IGNORED_TOKEN = -100
"""Pads labels; transformers and PyTorch leave it out of the loss."""


class Augment(Protocol):
    """Changes the image of a line for one epoch."""

    def __call__(
        self,
        image: Image.Image,
        *,
        source: str,
        line_id: str,
        epoch: int,
        size_px: tuple[int, int],
    ) -> Image.Image:
        """Return the changed image, mode L; the same for the same arguments, in any thread.

        `size_px` is the width and height of the line before it was resized.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Lines that one rank passes through the network together; N lines by ascending position."""

    pixels: torch.Tensor
    """Shape (N, H, W), uint8, or (N, 3, H, W), float32; `pixels.to_pixel_values` takes either."""
    labels: torch.Tensor
    """Shape (N, T), int64, padded with -100."""
    texts: list[str]
    """The labels before they were encoded."""
    line_ids: list[str]
    sources: list[str]
    datasets: list[str]
    positions: list[int]
    """In the global order of the epoch."""
    num_tokens: int
    """Tokens of the labels, without padding."""
    packed: torch.Tensor | None = None
    """The bytes of pixels and labels in one piece, see `pack`; both are views of it."""

    def __len__(self) -> int:
        return len(self.line_ids)

    def to(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pixels and labels on a device, in one copy if they are packed; nothing waits for it."""
        if self.packed is None:
            return self.pixels.to(device, non_blocking=True), self.labels.to(device, non_blocking=True)
        packed = self.packed.to(device, non_blocking=True)
        return _unpack(packed, self.pixels, 0), _unpack(packed, self.labels, _align(self.pixels.nbytes))


def pack(tensors: Sequence[torch.Tensor], *, is_pinned: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the bytes of tensors in one piece, in pinned memory or not, and the tensors as views of it.

    Each starts at a multiple of 16 bytes.
    """
    starts = np.cumsum([0, *(_align(tensor.nbytes) for tensor in tensors)]).tolist()
    packed = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=is_pinned)
    views = [_unpack(packed, tensor, start) for tensor, start in zip(tensors, starts, strict=False)]
    for view, tensor in zip(views, tensors, strict=True):
        view.copy_(tensor)
    return packed, views


def _align(size_bytes: int) -> int:
    return -(-size_bytes // 16) * 16


def _unpack(packed: torch.Tensor, like: torch.Tensor, start: int) -> torch.Tensor:
    return packed[start : start + like.nbytes].view(like.dtype).view(like.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBatches:
    """The batches of one rank for one optimizer step."""

    batches: list[Batch]
    """Empty for a rank that gets none of the last lines."""
    num_lines: int
    """Over all ranks: `global_batch_size`, in the last step perhaps fewer."""
    first_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLoader:
    """Loads the steps of one rank over the lines of several splits."""

    splits: tuple[Split, ...]
    ocr: OcrModel
    batch_size: int
    """Lines that one rank passes through the network together."""
    global_batch_size: int | None = None
    """Lines of one step over all ranks; None: `batch_size * world_size`."""
    rank: int = 0
    world_size: int = 1
    seed: int = 0
    label_column: LabelColumn = "text"
    mixture_weights: Mapping[str, float] | None = None
    """By the names of the splits, as `LineOrder` takes them; `lengths` too."""
    lines_per_epoch: int | None = None
    """As `LineOrder` takes it."""
    lengths: Mapping[str, npt.NDArray[Any]] | None = None
    augment: Augment | None = None
    threads: int = 2
    """Threads that decode, resize, augment and encode."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "world_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must be from 0 to {self.world_size - 1}, got {self.rank}")
        if self.lines_per_step % (self.batch_size * self.world_size) or self.lines_per_step < 1:
            raise ValueError(
                f"global_batch_size must be a multiple of batch_size x world_size = {self.batch_size} x "
                f"{self.world_size}, got {self.global_batch_size}"
            )
        names = [split.name for split in self.splits]
        if len(set(names)) < len(names):
            raise ValueError(f"splits must have different names, got {', '.join(names)}")
        self.order()  # checks mixture_weights and lengths

    @property
    def lines_per_step(self) -> int:
        """Lines over all ranks in every step, except perhaps the last."""
        if self.global_batch_size is None:
            return self.batch_size * self.world_size
        return self.global_batch_size

    @property
    def num_lines(self) -> int:
        """Lines of an epoch over all ranks."""
        return self.lines_per_epoch or sum(split.num_lines for split in self.splits)

    @property
    def num_steps(self) -> int:
        """Steps of an epoch; the same for every rank."""
        return -(-self.num_lines // self.lines_per_step)

    def order(self) -> LineOrder:
        """Return the order of the lines, the same for all ranks."""
        return LineOrder(
            row_counts={split.name: [group.num_lines for group in split.row_groups] for split in self.splits},
            global_batch_size=self.lines_per_step,
            seed=self.seed,
            mixture_weights=self.mixture_weights,
            lines_per_epoch=self.lines_per_epoch,
            lengths=self.lengths,
        )

    def steps(self, epoch: int | None, *, start_line: int = 0) -> Generator[StepBatches, None, None]:
        """Yield the steps of an epoch after its first `start_line` lines.

        With epoch None, for validation, the lines keep the order of the files and are not augmented. Reading,
        decoding and encoding happen in background threads, which end with the iterator or when it is closed;
        their errors are raised here.

        Raises:
            ValueError: `start_line` is neither the start of a step nor the end of the epoch.
            InputError: a row cannot be used, or a label has more tokens than the decoder has positions.
        """
        is_step_start = start_line % self.lines_per_step == 0 and 0 <= start_line < self.num_lines
        if not is_step_start and start_line != self.num_lines:
            raise ValueError(
                f"start_line must be a multiple of {self.lines_per_step} or {self.num_lines}, the epoch's "
                f"end, got {start_line}"
            )
        return self._steps(epoch, start_line)

    def _steps(self, epoch: int | None, start_line: int) -> Generator[StepBatches, None, None]:
        read_pool = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="loader-read")
        make_pool = ThreadPoolExecutor(self.threads, thread_name_prefix="loader-make")
        maker = BatchMaker(self.ocr, epoch, self.augment)
        pending: deque[tuple[StepPlan, list[Future[Batch]]]] = deque()
        try:
            for plan in self._plan(epoch, start_line, read_pool):
                pending.append((plan, [make_pool.submit(maker.make, lines) for lines in plan.batches]))
                if len(pending) > self._steps_ahead:
                    yield _wait_for_step(*pending.popleft())
            while pending:
                yield _wait_for_step(*pending.popleft())
        finally:
            read_pool.shutdown(wait=False, cancel_futures=True)  # first: batches may wait for reads
            make_pool.shutdown(cancel_futures=True)
            read_pool.shutdown()

    @property
    def _steps_ahead(self) -> int:
        batches_per_step = self.lines_per_step // (self.batch_size * self.world_size)
        return max(STEPS_AHEAD, -(-max(BATCHES_AHEAD, self.threads) // batches_per_step))

    def _plan(self, epoch: int | None, start_line: int, pool: ThreadPoolExecutor) -> Iterator["StepPlan"]:
        order = self.order()
        planner = StepPlanner(
            names=[split.name for split in self.splits],
            reader=self._open_reader(epoch, pool),
            lines_per_step=self.lines_per_step,
            batch_size=self.batch_size,
            rank=self.rank,
            world_size=self.world_size,
        )
        return plan_ahead(planner.plan(order.lines(epoch, start_line), start_line), LINES_READ_AHEAD)

    def _open_reader(self, epoch: int | None, pool: ThreadPoolExecutor) -> RowGroupReader:
        repeated: set[str] = set()
        max_row_groups = 2
        if epoch is not None:
            # A stream is within one window, or two where a bucket spans them. One row group more: where ranks
            # share a stream, row groups that a rank leaves unfinished must become the oldest of all held
            # before they are dropped.
            per_stream = WINDOW_ROW_GROUPS * (1 if self.lengths is None else 2) + 1
            max_row_groups = per_stream * NUM_STREAMS // math.gcd(self.world_size, NUM_STREAMS)
            if self.mixture_weights is not None:
                repeated = {split.name for split in self.splits if len(split.row_groups) < SMALL_ROW_GROUPS}
                max_row_groups *= max(1, len(self.splits) - len(repeated))
        return RowGroupReader(
            self.splits,
            pool,
            label_column=self.label_column,
            max_row_groups=max_row_groups,
            kept=frozenset(repeated),
        )


def _wait_for_step(plan: "StepPlan", batches: Sequence[Future[Batch]]) -> StepBatches:
    return StepBatches(
        batches=[batch.result() for batch in batches],
        num_lines=plan.num_lines,
        first_position=plan.first_position,
    )


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A line of a step that is being read."""

    position: int
    """In the global order of the epoch."""
    dataset: str
    line: PendingLine


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlan:
    """The lines of one rank for one step, before the batches are made."""

    batches: list[list[PlannedLine]]
    num_lines: int
    """Over all ranks."""
    first_position: int

    @property
    def num_own_lines(self) -> int:
        return sum(map(len, self.batches))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPlanner:
    """Divides the lines of an order into steps, ranks and batches."""

    names: Sequence[str]
    """The names of the datasets."""
    reader: RowGroupReader
    lines_per_step: int
    batch_size: int
    rank: int
    world_size: int

    def plan(self, arrays: Iterator[IntArray], first_position: int) -> Iterator[StepPlan]:
        """Yield this rank's part of each step and request its lines from the reader.

        `arrays` hold (dataset, row group, row) from `first_position` on; all but the last are whole steps.
        """
        for lines in arrays:
            for begin in range(0, len(lines), self.lines_per_step):
                step = lines[begin : begin + self.lines_per_step]
                planned = self._request(step, first_position)
                yield StepPlan(
                    batches=[
                        planned[start : start + self.batch_size]
                        for start in range(0, len(planned), self.batch_size)
                    ],
                    num_lines=len(step),
                    first_position=first_position,
                )
                first_position += len(step)

    def _request(self, step: IntArray, first_position: int) -> list[PlannedLine]:
        own = np.arange((self.rank - first_position) % self.world_size, len(step), self.world_size)
        return [
            PlannedLine(position, self.names[dataset], self.reader.request(dataset, group, row))
            for position, (dataset, group, row) in zip(
                (own + first_position).tolist(), step[own].tolist(), strict=True
            )
        ]


def plan_ahead(plans: Iterator[StepPlan], num_lines: int) -> Iterator[StepPlan]:
    """Yield each plan once `num_lines` of the rank's lines after it are planned, or all plans are made."""
    waiting: deque[tuple[StepPlan, int]] = deque()
    num_ahead = 0
    for plan in plans:
        num_own = plan.num_own_lines
        num_ahead += num_own if waiting else 0
        waiting.append((plan, num_own))
        while num_ahead >= num_lines:
            yield waiting.popleft()[0]
            num_ahead -= waiting[0][1]
    for plan, _ in waiting:
        yield plan


class BatchMaker:
    """Makes the batches of an epoch, in several threads at a time."""

    def __init__(self, ocr: OcrModel, epoch: int | None, augment: Augment | None) -> None:
        self.ocr = ocr
        self.epoch = epoch
        self.augment = augment
        self.pins_memory = ocr.device.type == "cuda"
        # A fast tokenizer refuses a second thread ("Already borrowed") while a first call sets its options.
        self.tokenizer_lock = threading.Lock()

    def make(self, planned: Sequence[PlannedLine]) -> Batch:
        """Wait until the lines are read and return them as a batch."""
        lines = [each.line.take() for each in planned]
        labels = self._encode(lines, planned)
        images = map(self._decode, lines, (each.dataset for each in planned))
        pixels, packed = make_pixels(self.ocr, images), None
        if self.pins_memory:
            packed, (pixels, labels) = pack([pixels, labels], is_pinned=True)
        return Batch(
            pixels=pixels,
            labels=labels,
            packed=packed,
            texts=[line.text for line in lines],
            line_ids=[line.line_id for line in lines],
            sources=[line.source for line in lines],
            datasets=[each.dataset for each in planned],
            positions=[each.position for each in planned],
            num_tokens=int((labels != IGNORED_TOKEN).sum()),
        )

    def _decode(self, line: StoredLine, dataset: str) -> Image.Image:
        image = open_line_image(line.image_bytes, f"line {line.line_id} of {dataset}")
        if self.augment is None or self.epoch is None or image.mode != "L":
            return image
        return self.augment(
            image,
            source=line.source,
            line_id=line.line_id,
            epoch=self.epoch,
            size_px=(line.width_px, line.height_px),
        )

    def _encode(self, lines: Sequence[StoredLine], planned: Sequence[PlannedLine]) -> torch.Tensor:
        with self.tokenizer_lock:
            encoded = self.ocr.encode_labels([line.text for line in lines])
        for line, each, ids in zip(lines, planned, encoded, strict=True):
            if len(ids) > self.ocr.max_target_tokens:
                raise InputError(
                    f"a label must have at most {self.ocr.max_target_tokens} tokens, "
                    f"line {line.line_id} of {each.dataset} has {len(ids)}"
                )
        labels = torch.full((len(lines), max(map(len, encoded))), IGNORED_TOKEN, dtype=torch.int64)
        for row, ids in enumerate(encoded):
            labels[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return labels
