"""The feed: steps of lines in one global order, each line exactly once an epoch, for any number of ranks.

The order of an epoch (see `order`) depends on the seed, the epoch, the datasets and the global batch size
alone. Step s is the next `global_batch_size` lines of it; rank r takes those at positions p with
p % world_size == r, in batches of `batch_size` by ascending position. A step is the same set of lines for any
number of ranks, and training may go on behind any step, with another number too.

Row groups are read by 4 threads as whole column chunks, 1,024 of the rank's lines ahead of the batches that
are made; batches are made by `threads` others, at least 8 batches and 2 steps ahead of their use.

Memory, however large the datasets are: a rank holds images, still encoded, of its 24 / gcd(world_size, 24)
lanes, two row groups each and partly used up, and those read ahead. With row groups of 256 lines of 22 kB
(PNG; JPEG has half) that grew a process by 370 MB at world size 1 (225 MB of it images), 210 MB at 4 and 580
MB at 5: ranks whose number does not divide 24 also hold lines of others. Lengths take twice as many row
groups at worst. With shares it is so for each dataset, but for a small one all of its fewer than 48 row
groups. Batches ahead take 147 kB a line.

Without an epoch, for validation, every rank reads all row groups in their order and holds two.
"""

import io
import math
import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt
import torch
from PIL import Image

from ocr_ray.dataset.lines import LabelColumn
from ocr_ray.errors import InputError
from ocr_ray.model.load import OcrModel
from ocr_ray.model.pixels import make_pixels
from ocr_ray.training.feed.lanes import LANE_WINDOW_ROW_GROUPS, NUM_LANES
from ocr_ray.training.feed.order import SMALL_ROW_GROUPS, LineOrder
from ocr_ray.training.feed.row_groups import Reader, Split, StoredLine
from ocr_ray.training.feed.schedule import Place, Planner, StepPlan, plan_ahead

READ_THREADS = 4
LINES_READ_AHEAD = 1024
BATCHES_AHEAD = 8
STEPS_AHEAD = 2
IGNORED_TOKEN = -100
"""Fills up labels; transformers and PyTorch leave it out of the loss."""


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

        `size_px` is width and height of the line before it was resized.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one rank passes through the network at once; N lines by ascending position."""

    pixels: torch.Tensor
    """Shape (N, H, W), uint8, or (N, 3, H, W), float32; `pixels.to_pixel_values` takes either. Pinned if CUDA
    is there."""
    labels: torch.Tensor
    """Shape (N, T), int64, filled up with -100; pinned likewise."""
    texts: list[str]
    """The labels before they were encoded."""
    line_ids: list[str]
    sources: list[str]
    datasets: list[str]
    positions: list[int]
    """In the global order of the epoch."""
    num_tokens: int
    """Of the labels, without what fills them up."""

    def __len__(self) -> int:
        return len(self.line_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one rank does before the optimizer's next step."""

    batches: list[Batch]
    """None for a rank that the last lines did not reach."""
    num_lines: int
    """Of all ranks together: `global_batch_size`, in the last step perhaps fewer."""
    first_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Steps of one rank over the lines of some splits together."""

    splits: tuple[Split, ...]
    ocr: OcrModel
    batch_size: int
    """Lines of one rank in one pass through the network."""
    global_batch_size: int | None = None
    """Lines of one step over all ranks; None: `batch_size * world_size`."""
    rank: int = 0
    world_size: int = 1
    seed: int = 0
    label_column: LabelColumn = "text"
    shares: Mapping[str, float] | None = None
    """As `LineOrder` takes them, by the names of the splits; `lengths` too."""
    lengths: Mapping[str, npt.NDArray[Any]] | None = None
    augment: Augment | None = None
    threads: int = 2
    """That decode, resize, augment and encode."""

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
        self.order()  # refuses shares and lengths that do not fit

    @property
    def lines_per_step(self) -> int:
        """Over all ranks, in every step but perhaps the last."""
        if self.global_batch_size is None:
            return self.batch_size * self.world_size
        return self.global_batch_size

    @property
    def num_lines(self) -> int:
        """Of an epoch, of all ranks together."""
        return sum(split.num_lines for split in self.splits)

    @property
    def num_steps(self) -> int:
        """Of an epoch; the same for every rank."""
        return -(-self.num_lines // self.lines_per_step)

    def order(self) -> LineOrder:
        """Return the order of the lines, the same for all ranks."""
        return LineOrder(
            row_counts={split.name: [group.num_lines for group in split.row_groups] for split in self.splits},
            global_batch_size=self.lines_per_step,
            seed=self.seed,
            shares=self.shares,
            lengths=self.lengths,
        )

    def steps(self, epoch: int | None, *, start_line: int = 0) -> Generator[Step, None, None]:
        """Give the steps of an epoch behind its first `start_line` lines.

        Without an epoch the lines keep the splits' own order, as they are, for validation. Reading, decoding
        and encoding happen in background threads, which end with the iterator or when it is closed; what they
        raise is raised here.

        Raises:
            ValueError: `start_line` is not where a step begins or the epoch ends.
            InputError: a label has more tokens than the decoder has positions.
        """
        begins = start_line % self.lines_per_step == 0 and 0 <= start_line < self.num_lines
        if not begins and start_line != self.num_lines:
            raise ValueError(
                f"start_line must be a multiple of {self.lines_per_step} or {self.num_lines}, the epoch's "
                f"end, got {start_line}"
            )
        return self._steps(epoch, start_line)

    def _steps(self, epoch: int | None, start_line: int) -> Generator[Step, None, None]:
        readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="feed-read")
        makers = ThreadPoolExecutor(self.threads, thread_name_prefix="feed-make")
        maker = BatchMaker(self.ocr, epoch, self.augment)
        making: deque[tuple[StepPlan, list[Future[Batch]]]] = deque()
        try:
            for plan in self._plan(epoch, start_line, readers):
                making.append((plan, [makers.submit(maker.make, places) for places in plan.batches]))
                if len(making) > self._steps_ahead:
                    yield _finish(*making.popleft())
            while making:
                yield _finish(*making.popleft())
        finally:
            readers.shutdown(wait=False, cancel_futures=True)  # first: makers may wait for them
            makers.shutdown(cancel_futures=True)
            readers.shutdown()

    @property
    def _steps_ahead(self) -> int:
        batches_per_step = self.lines_per_step // (self.batch_size * self.world_size)
        return max(STEPS_AHEAD, -(-BATCHES_AHEAD // batches_per_step))

    def _plan(self, epoch: int | None, start_line: int, pool: ThreadPoolExecutor) -> Iterator[StepPlan]:
        order = self.order()
        planner = Planner(
            names=[split.name for split in self.splits],
            reader=self._open_reader(epoch, pool),
            lines_per_step=self.lines_per_step,
            batch_size=self.batch_size,
            rank=self.rank,
            world_size=self.world_size,
        )
        return plan_ahead(planner.plan(order.lines(epoch, start_line), start_line), LINES_READ_AHEAD)

    def _open_reader(self, epoch: int | None, pool: ThreadPoolExecutor) -> Reader:
        repeated: set[str] = set()
        max_row_groups = 2
        if epoch is not None:
            # A lane is within one window, or two where a bucket spans them. One row group more: where ranks
            # share a lane, those left behind must grow older than all in use before they are dropped.
            per_lane = LANE_WINDOW_ROW_GROUPS * (1 if self.lengths is None else 2) + 1
            max_row_groups = per_lane * NUM_LANES // math.gcd(self.world_size, NUM_LANES)
            if self.shares is not None:
                repeated = {split.name for split in self.splits if len(split.row_groups) < SMALL_ROW_GROUPS}
                max_row_groups *= max(1, len(self.splits) - len(repeated))
        return Reader(
            self.splits,
            pool,
            label_column=self.label_column,
            max_row_groups=max_row_groups,
            kept=frozenset(repeated),
        )


def _finish(plan: StepPlan, batches: Sequence[Future[Batch]]) -> Step:
    return Step(
        batches=[batch.result() for batch in batches],
        num_lines=plan.num_lines,
        first_position=plan.first_position,
    )


class BatchMaker:
    """Makes batches of an epoch, in several threads at once."""

    def __init__(self, ocr: OcrModel, epoch: int | None, augment: Augment | None) -> None:
        self.ocr = ocr
        self.epoch = epoch
        self.augment = augment
        self.pins = torch.cuda.is_available()
        # A fast tokenizer refuses a second thread ("Already borrowed") while a first call sets its options.
        self.tokenizing = threading.Lock()

    def make(self, places: Sequence[Place]) -> Batch:
        """Return the lines as a batch, waiting until they are read."""
        lines = [place.line.take() for place in places]
        labels = self._encode(lines, places)
        pixels = make_pixels(self.ocr, [self._decode(line) for line in lines])
        return Batch(
            pixels=pixels.pin_memory() if self.pins else pixels,
            labels=labels.pin_memory() if self.pins else labels,
            texts=[line.text for line in lines],
            line_ids=[line.line_id for line in lines],
            sources=[line.source for line in lines],
            datasets=[place.dataset for place in places],
            positions=[place.position for place in places],
            num_tokens=int((labels != IGNORED_TOKEN).sum()),
        )

    def _decode(self, line: StoredLine) -> Image.Image:
        image: Image.Image = Image.open(io.BytesIO(line.image_bytes))
        if self.augment is None or self.epoch is None or image.mode != "L":
            return image
        return self.augment(
            image,
            source=line.source,
            line_id=line.line_id,
            epoch=self.epoch,
            size_px=(line.width_px, line.height_px),
        )

    def _encode(self, lines: Sequence[StoredLine], places: Sequence[Place]) -> torch.Tensor:
        with self.tokenizing:
            encoded = self.ocr.encode_labels([line.text for line in lines])
        for line, place, ids in zip(lines, places, encoded, strict=True):
            if len(ids) > self.ocr.max_target_tokens:
                raise InputError(
                    f"a label must have at most {self.ocr.max_target_tokens} tokens, "
                    f"line {line.line_id} of {place.dataset} has {len(ids)}"
                )
        labels = torch.full((len(lines), max(map(len, encoded))), IGNORED_TOKEN, dtype=torch.int64)
        for row, ids in enumerate(encoded):
            labels[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return labels
