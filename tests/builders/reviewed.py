"""Synthetic pages labelled by the perfect reader in this process, as the job would write them."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from fakes.perfect_reader import NATIVE, learn, make_pages, write_unread

from ocr_ray.dataset.lines import PartRow, PartSpec, TextLine
from ocr_ray.pages.files.load import PageLoader
from ocr_ray.pages.files.store import PageStore, pair_pages
from ocr_ray.pages.html.review import LabelledPage, ReviewedDataset
from ocr_ray.pages.label_part import ReadingInputs, ReadingStyle, label_name, label_part
from ocr_ray.pages.synthetic.pages import SyntheticPage
from ocr_ray.storage.location import locate, read_bytes


@dataclass(frozen=True)
class Labelled:
    """Labelled pages, sorted by name."""

    folder: Path
    """With labels/."""
    pages: list[SyntheticPage]
    rows: list[PartRow]
    reviewed: list[LabelledPage]
    dataset: ReviewedDataset

    @property
    def lines(self) -> list[TextLine]:
        return [row for row in self.rows if isinstance(row, TextLine)]


def label_here(folder: Path, font_bytes: bytes, number: int, *, sha256: str = "a" * 64) -> Labelled:
    """Label `number` pages of each schema."""
    pages = sorted(make_pages(font_bytes, number), key=lambda page: page.page_id)
    source = locate(str(folder / "pages"))
    write_unread(source, pages)
    store = PageStore(source)
    files, _, _ = pair_pages(store.list().files)
    paths = [
        {name: getattr(file, name) for name in ("page_id", "image_path", "label_path")} for file in files
    ]
    inputs = ReadingInputs(
        loader=PageLoader(store=store, box_format="xyxy", out_of_scope={}),
        pages=pa.Table.from_pylist(paths),
        style=ReadingStyle(image=NATIVE.image),
        labels=locate(str(folder / "labels")),
        read=learn(pages),
    )
    rows = list(label_part(inputs, PartSpec(split="train", index=0, start=0, stop=len(files))))
    reviewed = []
    for file in files:
        page = inputs.loader.load(file)
        reviewed.append(
            LabelledPage(
                page_id=file.page_id,
                image_path=file.image_path,
                image_bytes=page.image_bytes,
                label=page.label,
                label_file=read_bytes(inputs.labels / label_name(file.page_id)),
                lines=[row for row in rows if isinstance(row, TextLine) and row.page_id == file.page_id],
                rejects=[],
            )
        )
    dataset = ReviewedDataset(config_sha256=sha256, label_column="text")
    return Labelled(folder, pages, rows, reviewed, dataset)
