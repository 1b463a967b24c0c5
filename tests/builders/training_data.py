"""Small datasets of drawn lines and the tiny model, for the tests of training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.dataset.images import ImageConfig, encode_image
from ocr_ray.dataset.lines import TextLine, lines_to_table
from ocr_ray.model.load import OcrModel, load_model
from ocr_ray.model.tiny import write_tiny_model
from ocr_ray.storage.location import locate
from ocr_ray.training.config import TrainConfig
from ocr_ray.training.data.row_groups import LineDataset
from ocr_ray.training.setup import TrainData

CONFIG = TrainConfig(
    epochs=3, batch_size=4, lr=1e-3, seed=5, max_generated_lines=2, checkpoint_every_minutes=0
)
"""For a run over about ten lines."""


def make_texts(count: int, *, seed: int = 0) -> list[str]:
    """Return `count` different texts of digits, signs and letters of Pillow's default font."""
    rng = np.random.default_rng(seed)
    words = ["desk", "train", "apple", "seven", "paper", "cm", "line", "river"]
    texts = [
        f"{rng.choice(words)} {rng.integers(1000)} {rng.choice(list('+-='))} {rng.integers(100)}"
        for _ in range(count)
    ]
    return [f"{text} {number}" for number, text in enumerate(texts)]


def draw_text(text: str) -> Image.Image:
    """Return the text in black on white, greyscale."""
    image = Image.new("L", (12 * len(text) + 8, 32), 255)
    ImageDraw.Draw(image).text((4, 4), text, fill=0, font=ImageFont.load_default(20))
    return image


def make_lines(
    texts: Sequence[str], *, config: ImageConfig | None = None, source: str = "words"
) -> list[TextLine]:
    """Return a drawn line for each text, with the text in dollars as its markup."""
    lines = []
    for number, text in enumerate(texts):
        image = draw_text(text)
        lines.append(
            TextLine(
                line_id=f"{source}-{number:05d}",
                image_bytes=encode_image(image, config or ImageConfig()),
                text=text,
                markup=f"${text}$",
                source=source,
                width_px=image.width,
                height_px=image.height,
            )
        )
    return lines


def write_split(
    dataset: Path, split: str, lines: Sequence[TextLine], *, rows_per_group: int = 5, rows_per_part: int = 12
) -> None:
    """Write the lines as parts of a split; one empty part if there are none, as the jobs do."""
    folder = dataset / split
    folder.mkdir(parents=True)
    for index, start in enumerate(range(0, max(1, len(lines)), rows_per_part)):
        table = lines_to_table(lines[start : start + rows_per_part])
        pq.write_table(table, folder / f"part-{index:05d}.parquet", row_group_size=rows_per_group)


def make_dataset(folder: Path, num_train: int, num_validation: int, *, name: str = "lines") -> LineDataset:
    """Write a dataset whose validation lines are its first train lines."""
    lines = make_lines(make_texts(max(num_train, num_validation)))
    write_split(folder, "train", lines[:num_train])
    write_split(folder, "validation", lines[:num_validation])
    return LineDataset(name=name, folder=locate(str(folder)))


def make_tiny_model(folder: Path, *, seed: int = 0) -> OcrModel:
    if not folder.exists():
        write_tiny_model(folder, make_texts(200), seed)
    return load_model(folder)


def data_of(*datasets: LineDataset) -> TrainData:
    return TrainData(datasets=datasets)


def weights_of(ocr: OcrModel) -> dict[str, torch.Tensor]:
    return dict(ocr.network.state_dict())
