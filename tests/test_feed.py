import io
import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from training_data import make_dataset, make_lines, make_texts, make_tiny_model, write_split
from transformers import AutoImageProcessor
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from ocr_ray.errors import InputError
from ocr_ray.images import ImageConfig
from ocr_ray.lines import TextLine
from ocr_ray.storage import locate
from ocr_ray.training.feed import Batch, Feed, LineDataset, check_labels, make_pixel_values
from ocr_ray.training.model import OcrModel
from ocr_ray.training.splits import WINDOW_ROW_GROUPS, Split, iter_windows, open_split

torch.set_num_threads(1)

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=70)


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> OcrModel:
    return make_tiny_model(tmp_path_factory.mktemp("feed") / "model")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """37 lines in row groups of 5, parts of 12."""
    dataset = make_dataset(tmp_path_factory.mktemp("lines"), 37, 3)
    return open_split(dataset.name, dataset.place / "train")


def order_of(row_counts: list[int], seed: int, epoch: int | None) -> list[tuple[int, int]]:
    windows = iter_windows(row_counts, seed=seed, epoch=epoch)
    return [(group, row) for window in windows for group, row in window.tolist()]


@given(SIZES, st.integers(0, 2**40), st.one_of(st.none(), st.integers(0, 50)))
@settings(max_examples=50, deadline=None)
def test_every_line_is_in_the_order_of_an_epoch_exactly_once(
    sizes: list[int], seed: int, epoch: int | None
) -> None:
    order = order_of(sizes, seed, epoch)
    assert sorted(order) == [(group, row) for group, size in enumerate(sizes) for row in range(size)]


def test_the_order_differs_by_epoch_and_by_seed_and_not_by_call() -> None:
    sizes = [5] * 40
    orders = [order_of(sizes, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert order_of(sizes, 1, 1) == orders[3]


def test_a_window_mixes_the_lines_of_many_row_groups() -> None:
    window = next(iter_windows([256] * 100, seed=0, epoch=0))
    assert len(window) == WINDOW_ROW_GROUPS * 256
    assert len(set(window[:100, 0].tolist())) > 25


def test_without_an_epoch_the_lines_keep_their_order() -> None:
    assert order_of([2, 3], 0, None) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]


def ids_of(batches: list[Batch]) -> list[list[str]]:
    return [batch.line_ids for batch in batches]


@pytest.fixture(scope="module")
def quick(ocr: OcrModel) -> OcrModel:
    """Feeds images of 8 px, so that many epochs take little time."""
    processor = ViTImageProcessorPil(size={"height": 8, "width": 8})
    return replace(ocr, image_processor=processor)


@given(
    num_lines=st.integers(1, 60),
    world_size=st.integers(1, 5),
    batch_size=st.integers(1, 7),
    rows_per_group=st.integers(1, 20),
    epoch=st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_each_line_is_fed_exactly_once_an_epoch_in_one_global_order(
    tmp_path_factory: pytest.TempPathFactory,
    quick: OcrModel,
    num_lines: int,
    world_size: int,
    batch_size: int,
    rows_per_group: int,
    epoch: int,
) -> None:
    place = tmp_path_factory.mktemp("lines")
    image = make_lines(["1"], config=ImageConfig(size="native"))[0].image_bytes
    lines = [
        TextLine(
            line_id=str(i), image_bytes=image, text="1", markup="1", source="words", width_px=1, height_px=1
        )
        for i in range(num_lines)
    ]
    write_split(place, "train", lines, rows_per_group=rows_per_group, rows_per_part=rows_per_group * 2)
    split = open_split("lines", locate(str(place / "train")))

    def feed(rank: int, size: int, ranks: int) -> list[Batch]:
        one = Feed(splits=(split,), ocr=quick, batch_size=size, rank=rank, world_size=ranks, seed=3)
        return list(one.batches(epoch))

    [order] = ids_of(feed(0, num_lines, 1))
    ranks = [feed(rank, batch_size, world_size) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    fed = []
    for step in zip(*ranks, strict=True):
        by_position = {p: i for batch in step for p, i in zip(batch.positions, batch.line_ids, strict=True)}
        fed += [by_position[position] for position in sorted(by_position)]
    assert fed == order
    assert sorted(fed, key=int) == [line.line_id for line in lines]


def test_every_rank_has_as_many_batches_and_the_last_may_be_empty(ocr: OcrModel, split: Split) -> None:
    feeds = [Feed(splits=(split,), ocr=ocr, batch_size=6, rank=rank, world_size=2) for rank in range(2)]
    sizes = [[len(batch) for batch in feed.batches(0)] for feed in feeds]
    assert sizes == [[6, 6, 6, 1], [6, 6, 6, 0]]
    assert [feed.num_batches for feed in feeds] == [4, 4]


def test_lines_of_several_datasets_are_fed_as_one(tmp_path: Path, ocr: OcrModel) -> None:
    datasets = [make_dataset(tmp_path / name, 9, 1, name=name) for name in ("one", "two")]
    splits = tuple(open_split(dataset.name, dataset.place / "train") for dataset in datasets)
    batches = list(Feed(splits=splits, ocr=ocr, batch_size=4).batches(0))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 2]
    assert sorted(line_id for batch in batches for line_id in batch.line_ids) == sorted(
        2 * [f"words-{i:05d}" for i in range(9)]
    )


@pytest.mark.parametrize("config", [ImageConfig(), ImageConfig(size="native", format="png")])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_processor_type": "DeiTImageProcessor", "do_center_crop": False, "resample": 3},
        {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
        {
            "image_processor_type": "DeiTImageProcessor",
            "do_center_crop": True,
            "crop_size": {"height": 224, "width": 200},
        },
    ],
)
def test_the_tensors_fed_equal_those_of_the_models_own_processor(
    tmp_path: Path, ocr: OcrModel, config: ImageConfig, changes: dict[str, object]
) -> None:
    settings_of = {**ocr.image_processor.to_dict(), **changes}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings_of))
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    images = [line.image_bytes for line in make_lines(make_texts(3), config=config)]
    changed = replace(ocr, image_processor=processor)
    rgb = [Image.open(io.BytesIO(image)).convert("RGB") for image in images]
    expected = processor(images=rgb, return_tensors="pt")["pixel_values"]
    fed = make_pixel_values(changed, images)
    assert fed.dtype == torch.float32
    assert torch.equal(fed, expected)


def test_an_image_in_colour_is_fed_as_it_is(ocr: OcrModel) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 90, 3), dtype=np.uint8))
    image.save(buffer, "PNG")
    expected = ocr.image_processor(images=[image], return_tensors="pt")["pixel_values"]
    assert torch.equal(make_pixel_values(ocr, [buffer.getvalue()]), expected)


def test_labels_come_from_the_column_asked_for_and_end_with_the_end_token(
    ocr: OcrModel, split: Split
) -> None:
    for column in ("text", "markup"):
        batch = next(Feed(splits=(split,), ocr=ocr, batch_size=37, label_column=column).batches(0))
        for labels, text in zip(batch.labels, batch.texts, strict=True):
            ids = labels[labels != -100].tolist()
            assert ids[0] == ocr.tokenizer.cls_token_id
            assert ids[-1] == ocr.tokenizer.eos_token_id
            assert ocr.decode([ids]) == [text]
            assert text.startswith("$") == (column == "markup")
        assert batch.num_tokens == int((batch.labels != -100).sum())


def test_a_label_that_the_decoder_cannot_hold_is_refused_and_named(tmp_path: Path, ocr: OcrModel) -> None:
    lines = make_lines(["short", "long", "longer"])
    texts = ["short", "먼" * 60, "긴" * 90]  # bytes that the tokenizer has not learnt to join
    lines = [
        TextLine(
            line_id=line.line_id,
            image_bytes=line.image_bytes,
            text=text,
            markup=text,
            source="words",
            width_px=1,
            height_px=1,
        )
        for line, text in zip(lines, texts, strict=True)
    ]
    write_split(tmp_path, "train", lines)
    split = open_split("labels", locate(str(tmp_path / "train")))
    with pytest.raises(
        InputError, match=r"2 of the 3 lines of labels have more in column text, line words-00002 has 272"
    ):
        check_labels(ocr, split, "text")
    with pytest.raises(InputError, match=r"at most 128 tokens, line words-0000\d of labels has \d+"):
        list(Feed(splits=(split,), ocr=ocr, batch_size=1).batches(0))


def test_the_longest_label_is_found_without_images(ocr: OcrModel, split: Split) -> None:
    batches = Feed(splits=(split,), ocr=ocr, batch_size=16).batches(0)
    assert check_labels(ocr, split, "text") == max(batch.labels.shape[1] for batch in batches)


def test_a_feed_that_is_left_early_leaves_no_thread_behind(ocr: OcrModel, split: Split) -> None:
    before = set(threading.enumerate())
    batches = Feed(splits=(split,), ocr=ocr, batch_size=2).batches(0)
    next(batches)
    assert set(threading.enumerate()) - before
    batches.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_an_image_that_cannot_be_decoded_stops_the_feed(tmp_path: Path, ocr: OcrModel) -> None:
    line = TextLine(
        line_id="0", image_bytes=b"no image", text="1", markup="1", source="words", width_px=1, height_px=1
    )
    write_split(tmp_path, "train", [line])
    split = open_split("lines", locate(str(tmp_path / "train")))
    with pytest.raises(Image.UnidentifiedImageError, match="cannot identify"):
        list(Feed(splits=(split,), ocr=ocr, batch_size=1).batches(0))


def test_a_part_without_rows_and_a_split_without_parts_have_no_lines(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [])
    dataset = LineDataset(name="lines", place=locate(str(tmp_path)))
    assert open_split("lines", dataset.place / "train").num_lines == 0
    assert open_split("lines", dataset.place / "validation").num_lines == 0
