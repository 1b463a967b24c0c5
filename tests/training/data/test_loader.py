import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pytest
import torch
from builders.training_data import make_dataset, make_lines, make_texts, make_tiny_model, write_split
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from ocr_ray.dataset.images import ImageConfig
from ocr_ray.dataset.lines import TextLine
from ocr_ray.errors import InputError
from ocr_ray.model.load import OcrModel
from ocr_ray.storage.location import locate
from ocr_ray.training.data.loader import (
    Batch,
    LineLoader,
    PlannedLine,
    StepBatches,
    StepPlan,
    pack,
    plan_ahead,
)
from ocr_ray.training.data.row_groups import LineDataset, Split, open_split

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OcrModel:
    return make_tiny_model(tmp_path_factory.mktemp("loader") / "model")


@pytest.fixture(scope="module")
def quick(ocr: OcrModel) -> OcrModel:
    """A model for images of 8 px, so that many epochs take little time."""
    return replace(ocr, image_processor=ViTImageProcessorPil(size={"height": 8, "width": 8}))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """37 lines in row groups of 5, parts of 12."""
    dataset = make_dataset(tmp_path_factory.mktemp("lines"), 37, 3)
    return open_split(dataset.name, dataset.folder / "train")


IMAGE = make_lines(["1"], config=ImageConfig(size="native"))[0].image_bytes


def make_split(place: Path, num_lines: int, rows_per_group: int, *, name: str = "lines") -> Split:
    """Write lines of one small image, their ids the dataset's name and their number."""
    lines = [
        TextLine(
            line_id=f"{name} {i}",
            image_bytes=IMAGE,
            text="1" * (1 + i % 7),
            markup="1",
            source="words" if i % 2 else "page",
            width_px=1,
            height_px=1,
        )
        for i in range(num_lines)
    ]
    write_split(place, "train", lines, rows_per_group=rows_per_group, rows_per_part=rows_per_group * 2)
    return open_split(name, locate(str(place / "train")))


def ids_of(steps: list[StepBatches]) -> list[str]:
    return [line_id for step in steps for batch in step.batches for line_id in batch.line_ids]


def join_ranks(ranks: list[list[StepBatches]]) -> list[list[str]]:
    """Return the lines of each step by position, after checks that the ranks agree on it."""
    joined = []
    assert len({len(steps) for steps in ranks}) == 1
    for step in zip(*ranks, strict=True):
        assert len({(part.num_lines, part.first_position) for part in step}) == 1
        batches = [batch for part in step for batch in part.batches]
        by_position = {
            p: i for batch in batches for p, i in zip(batch.positions, batch.line_ids, strict=True)
        }
        first, num_lines = step[0].first_position, step[0].num_lines
        assert sorted(by_position) == list(range(first, first + num_lines))
        assert sum(map(len, batches)) == num_lines
        joined.append([by_position[position] for position in sorted(by_position)])
    return joined


@given(
    num_lines=st.integers(1, 90),
    world_size=st.sampled_from([1, 2, 3, 8, 5]),
    batch_size=st.integers(1, 5),
    accumulation=st.integers(1, 3),
    rows_per_group=st.integers(1, 20),
    epoch=st.one_of(st.none(), st.integers(0, 3)),
    options=st.sampled_from(["", "weights", "lengths", "weights lengths"]),
    where=st.floats(0, 1),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_each_line_is_loaded_exactly_once_an_epoch_through_a_resume_with_any_other_ranks(
    tmp_path_factory: pytest.TempPathFactory,
    quick: OcrModel,
    num_lines: int,
    world_size: int,
    batch_size: int,
    accumulation: int,
    rows_per_group: int,
    epoch: int | None,
    options: str,
    where: float,
    data: st.DataObject,
) -> None:
    """With mixture weights the order is compared with that of a single rank."""
    place = tmp_path_factory.mktemp("lines")
    splits = (
        make_split(place / "a", num_lines, rows_per_group, name="a"),
        make_split(place / "b", 2 * num_lines, rows_per_group, name="b"),
    )
    step_lines = world_size * batch_size * accumulation

    def loader(rank: int, ranks: int, size: int) -> LineLoader:
        return LineLoader(
            splits=splits,
            ocr=quick,
            batch_size=size,
            global_batch_size=step_lines,
            rank=rank,
            world_size=ranks,
            seed=3,
            mixture_weights={"a": 0.7, "b": 0.3} if "weights" in options else None,
            lengths={s.name: np.arange(s.num_lines) % 7 for s in splits} if "lengths" in options else None,
        )

    whole = list(loader(0, 1, step_lines).steps(epoch))
    order = ids_of(whole)
    if "weights" not in options or epoch is None:
        assert sorted(order) == sorted(
            [f"a {i}" for i in range(num_lines)] + [f"b {i}" for i in range(2 * num_lines)]
        )
    assert len(order) == loader(0, 1, 1).num_lines

    done = int(where * len(whole))
    before = [list(loader(rank, world_size, batch_size).steps(epoch))[:done] for rank in range(world_size)]
    other_size = data.draw(st.sampled_from([n for n in range(1, step_lines + 1) if step_lines % n == 0]))
    start = min(done * step_lines, len(order))
    after = [
        list(loader(rank, other_size, step_lines // other_size).steps(epoch, start_line=start))
        for rank in range(other_size)
    ]
    steps = join_ranks(before) + join_ranks(after)
    assert [line_id for step in steps for line_id in step] == order
    assert steps == [ids_of([step]) for step in whole]
    for step in (step for steps in before for step in steps):
        assert all(len(batch) == batch_size for batch in step.batches[:-1])
        assert all(1 <= len(batch) <= batch_size for batch in step.batches)
        positions = [position for batch in step.batches for position in batch.positions]
        assert positions == sorted(positions)


def test_the_last_step_can_leave_ranks_without_lines(quick: OcrModel, split: Split) -> None:
    loaders = [
        LineLoader(splits=(split,), ocr=quick, batch_size=3, global_batch_size=12, rank=rank, world_size=2)
        for rank in range(2)
    ]
    sizes = [[[len(batch) for batch in step.batches] for step in loader.steps(0)] for loader in loaders]
    assert sizes == [[[3, 3], [3, 3], [3, 3], [1]], [[3, 3], [3, 3], [3, 3], []]]
    assert [step.num_lines for step in loaders[1].steps(0)] == [12, 12, 12, 1]
    assert [loader.num_steps for loader in loaders] == [4, 4]


def test_an_epoch_that_is_done_has_no_steps_left(quick: OcrModel, split: Split) -> None:
    loader = LineLoader(splits=(split,), ocr=quick, batch_size=6)
    assert list(loader.steps(1, start_line=37)) == []
    assert len(list(loader.steps(1, start_line=36))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_batch_size": 20}, r"must be a multiple of batch_size x world_size = 4 x 2, got 20"),
        ({"global_batch_size": 0}, r"must be a multiple of batch_size x world_size = 4 x 2, got 0"),
        ({"rank": 2}, r"rank must be from 0 to 1, got 2"),
        ({"threads": 0}, r"threads must be at least 1, got 0"),
        ({"mixture_weights": {"other": 1}}, r"mixture_weights must name every dataset, lines, got other"),
    ],
)
def test_invalid_fields_are_refused(quick: OcrModel, split: Split, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LineLoader(**{"splits": (split,), "ocr": quick, "batch_size": 4, "world_size": 2, **options})


def test_two_splits_of_one_name_are_refused(quick: OcrModel, split: Split) -> None:
    with pytest.raises(ValueError, match="splits must have different names, got lines, lines"):
        LineLoader(splits=(split, split), ocr=quick, batch_size=4)


@pytest.mark.parametrize("start", [-6, 5, 38, 42])
def test_a_loader_resumes_only_where_a_step_starts(quick: OcrModel, split: Split, start: int) -> None:
    with pytest.raises(ValueError, match=rf"start_line must be a multiple of 6 or 37, .* got {start}"):
        LineLoader(splits=(split,), ocr=quick, batch_size=6).steps(0, start_line=start)


def test_lines_of_several_datasets_are_loaded_with_their_names(tmp_path: Path, quick: OcrModel) -> None:
    splits = tuple(make_split(tmp_path / name, 9, 4, name=name) for name in ("one", "two"))
    steps = list(LineLoader(splits=splits, ocr=quick, batch_size=4).steps(0))
    assert [step.num_lines for step in steps] == [4, 4, 4, 4, 2]
    assert sorted(ids_of(steps)) == sorted(f"{name} {i}" for i in range(9) for name in ("one", "two"))
    for step in steps:
        for line_id, dataset in zip(step.batches[0].line_ids, step.batches[0].datasets, strict=True):
            assert line_id.startswith(dataset)


def only_batch(loader: LineLoader, epoch: int | None = 0) -> Batch:
    [step] = loader.steps(epoch)
    [batch] = step.batches
    return batch


def test_labels_come_from_the_column_asked_for_and_end_with_the_end_token(
    ocr: OcrModel, split: Split
) -> None:
    for column in ("text", "markup"):
        batch = only_batch(LineLoader(splits=(split,), ocr=ocr, batch_size=37, label_column=column))
        for labels, text in zip(batch.labels, batch.texts, strict=True):
            ids = labels[labels != -100].tolist()
            assert ids[0] == ocr.tokenizer.cls_token_id
            assert ids[-1] == ocr.tokenizer.eos_token_id
            assert ocr.decode([ids]) == [text]
            assert text.startswith("$") == (column == "markup")
        assert batch.num_tokens == int((batch.labels != -100).sum())
        assert int((batch.labels[:, -1] != -100).sum()) > 0


def test_each_line_has_its_own_pixels_and_text(tmp_path: Path, ocr: OcrModel) -> None:
    lines = make_lines(make_texts(23))
    write_split(tmp_path, "train", lines)
    split = open_split("lines", locate(str(tmp_path / "train")))
    by_id = {line.line_id: line for line in lines}
    for step in LineLoader(splits=(split,), ocr=ocr, batch_size=5, threads=3).steps(4):
        for batch in step.batches:
            for line_id, pixels, text in zip(batch.line_ids, batch.pixels, batch.texts, strict=True):
                with Image.open(io.BytesIO(by_id[line_id].image_bytes)) as image:
                    assert np.array_equal(pixels.numpy(), np.asarray(image))
                assert text == by_id[line_id].text


def test_a_label_that_the_decoder_cannot_hold_is_refused_and_named(tmp_path: Path, quick: OcrModel) -> None:
    line = replace(
        make_lines(["short"])[0], text="먼" * 60
    )  # bytes that the tokenizer has not learnt to join
    write_split(tmp_path, "train", [line])
    split = open_split("labels", locate(str(tmp_path / "train")))
    with pytest.raises(InputError, match=r"at most 128 tokens, line words-00000 of labels has 182"):
        list(LineLoader(splits=(split,), ocr=quick, batch_size=1).steps(0))


def test_training_lines_are_augmented_before_the_resize_and_validation_lines_never(
    tmp_path: Path, quick: OcrModel
) -> None:
    split = make_split(tmp_path, 20, 6)
    calls: Counter[tuple[str, str, int]] = Counter()

    def blacken(
        image: Image.Image, *, source: str, line_id: str, epoch: int, size_px: tuple[int, int]
    ) -> Image.Image:
        assert size_px == (1, 1)
        calls[line_id, source, epoch] += 1
        assert image.size == Image.open(io.BytesIO(IMAGE)).size
        return Image.new("L", image.size, epoch) if source == "page" else image

    loader = LineLoader(splits=(split,), ocr=quick, batch_size=20, augment=blacken)
    batch = only_batch(loader, 3)
    assert calls == Counter((f"lines {i}", "words" if i % 2 else "page", 3) for i in range(20))
    for pixels, source in zip(batch.pixels, batch.sources, strict=True):
        assert bool((pixels == 3).all()) == (source == "page")
    only_batch(loader, None)
    assert sum(calls.values()) == 20


def new_threads(before: set[threading.Thread]) -> set[threading.Thread]:
    return set(threading.enumerate()) - before


def test_a_loader_that_is_left_early_leaves_no_thread_behind(quick: OcrModel, split: Split) -> None:
    before = set(threading.enumerate())
    steps = LineLoader(splits=(split,), ocr=quick, batch_size=2).steps(0)
    assert not new_threads(before)
    next(steps)
    assert new_threads(before)
    steps.close()
    assert not new_threads(before)


def test_a_loader_that_is_left_while_its_reads_hang_ends_with_them(tmp_path: Path, quick: OcrModel) -> None:
    split = make_split(tmp_path, 40, 2)
    gate = threading.Event()
    slow = with_filesystem(split, Gated(gate))
    before = set(threading.enumerate())
    steps = LineLoader(splits=(slow,), ocr=quick, batch_size=2).steps(0)
    threading.Timer(0.3, gate.set).start()
    next(steps)
    steps.close()
    assert not [thread for thread in new_threads(before) if thread.name.startswith("loader")]


class Gated:
    """A local filesystem whose reads wait for a gate and are counted; one part may be lost."""

    def __init__(self, gate: threading.Event | None = None, lost: str = "") -> None:
        self.local = pa.fs.LocalFileSystem()
        self.gate = gate
        self.lost = lost
        self.num_reads = 0

    def open_input_file(self, path: str) -> pa.NativeFile:
        self.num_reads += 1
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.lost and path.endswith(self.lost):
            raise OSError(f"lost: {path}")
        return self.local.open_input_file(path)


def with_filesystem(split: Split, filesystem: Gated) -> Split:
    groups = [replace(group, part=replace(group.part, filesystem=filesystem)) for group in split.row_groups]
    return replace(split, row_groups=tuple(groups))


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_thread_is_raised_to_the_caller_and_ends_the_threads(
    tmp_path: Path, quick: OcrModel, threads: int
) -> None:
    split = with_filesystem(make_split(tmp_path, 600, 20), Gated(lost="part-00003.parquet"))
    before = set(threading.enumerate())
    with pytest.raises(InputError, match=r"part-00003.parquet must be an intact Parquet file: lost"):
        list(LineLoader(splits=(split,), ocr=quick, batch_size=4, threads=threads).steps(None))
    assert not new_threads(before)


def test_an_image_that_cannot_be_decoded_stops_the_loader(tmp_path: Path, quick: OcrModel) -> None:
    lines = make_lines(["0", "1", "2"])
    write_split(tmp_path, "train", [*lines[:2], replace(lines[2], image_bytes=b"%!PS-Adobe-3.0 EPSF-3.0")])
    split = open_split("lines", locate(str(tmp_path / "train")))
    with pytest.raises(InputError, match=r"line words-00002 of lines must be a PNG or JPEG file, it is none"):
        list(LineLoader(splits=(split,), ocr=quick, batch_size=1).steps(0))


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_ranks_together_read_every_row_group_once(
    tmp_path: Path, quick: OcrModel, world_size: int
) -> None:
    split = make_split(tmp_path, 96 * 4, 4)
    filesystem = Gated()
    for rank in range(world_size):
        loader = LineLoader(
            splits=(with_filesystem(split, filesystem),),
            ocr=quick,
            batch_size=6,
            rank=rank,
            world_size=world_size,
        )
        for _ in loader.steps(0):
            pass
    assert filesystem.num_reads == 96


def test_a_small_dataset_in_a_mixture_is_read_once_however_often_it_repeats(
    tmp_path: Path, quick: OcrModel
) -> None:
    small, large = Gated(), Gated()
    splits = (
        with_filesystem(make_split(tmp_path / "small", 12, 4, name="small"), small),
        with_filesystem(make_split(tmp_path / "large", 480, 4, name="large"), large),
    )
    loader = LineLoader(splits=splits, ocr=quick, batch_size=16, mixture_weights={"small": 0.5, "large": 0.5})
    counts = Counter(ids_of(list(loader.steps(0))))
    times = [counts[f"small {i}"] for i in range(12)]
    assert max(times) - min(times) <= 1
    assert sum(times) == pytest.approx(246, abs=30)  # the epoch is shorter than a window
    assert small.num_reads == 3
    assert large.num_reads <= 246 / 4 + 24 + 8  # streams stop within row groups


def test_the_loader_reads_ahead_by_a_bounded_number_of_lines(tmp_path: Path, quick: OcrModel) -> None:
    """If no second step is taken, only a bounded part of the dataset is read."""
    filesystem = Gated()
    split = with_filesystem(make_split(tmp_path, 8000, 20), filesystem)
    steps = LineLoader(splits=(split,), ocr=quick, batch_size=4).steps(None)
    next(steps)
    time.sleep(0.3)
    read = filesystem.num_reads
    steps.close()
    assert 1024 / 20 <= read <= (1024 + 4 * 12) / 20 + 2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_packed_batch_is_copied_as_one_piece(quick: OcrModel, split: Split, dtype: torch.dtype) -> None:
    """In unpinned memory. Only the bytes of `packed` are copied: the views of the batch are zero here."""
    batch = only_batch(LineLoader(splits=(split,), ocr=quick, batch_size=37))
    pixels = batch.pixels[:, :3, :5].to(dtype)
    packed, (own_pixels, own_labels) = pack([pixels, batch.labels], is_pinned=False)
    assert own_labels.data_ptr() - own_pixels.data_ptr() == -(-pixels.nbytes // 16) * 16
    packed_batch = replace(batch, pixels=own_pixels, labels=own_labels, packed=packed.clone())
    own_pixels.zero_()
    copied = packed_batch.to(torch.device("cpu"))
    assert torch.equal(copied[0], pixels)
    assert torch.equal(copied[1], batch.labels)
    assert (copied[0].dtype, copied[1].dtype) == (dtype, torch.int64)


def test_validation_lines_keep_their_order(quick: OcrModel, split: Split) -> None:
    loader = LineLoader(splits=(split,), ocr=quick, batch_size=5, seed=9)
    assert ids_of(list(loader.steps(None))) == [f"words-{i:05d}" for i in range(37)]


def test_a_part_without_rows_and_a_split_without_parts_have_no_lines(tmp_path: Path, quick: OcrModel) -> None:
    write_split(tmp_path, "train", [])
    dataset = LineDataset(name="lines", folder=locate(str(tmp_path)))
    for name in ("train", "validation"):
        empty = open_split("lines", dataset.folder / name)
        assert empty.num_lines == 0
        assert list(LineLoader(splits=(empty,), ocr=quick, batch_size=4).steps(0)) == []


def make_plans(sizes: list[int], planned: list[int]) -> Iterator[StepPlan]:
    for index, size in enumerate(sizes):
        planned.append(index)
        yield StepPlan(batches=[[PlannedLine(0, "", None)] * size], num_lines=size, first_position=index)  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [[], [0], [4], [4] * 9, [0, 4, 0, 4, 0, 0, 9, 1], [50, 1, 1]])
def test_plans_come_in_order_with_enough_lines_planned_after_each(sizes: list[int]) -> None:
    planned: list[int] = []
    given = []
    for plan in plan_ahead(make_plans(sizes, planned), 10):
        given.append(plan.first_position)
        ahead = sizes[plan.first_position + 1 : planned[-1] + 1]
        assert sum(ahead) >= 10 or planned[-1] == len(sizes) - 1
        assert sum(ahead[:-1]) < 10
    assert given == list(range(len(sizes)))
