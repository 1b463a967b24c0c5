"""Datasets of lines opened by other programs: row by row, or as a `datasets.Dataset`."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, overload

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from ocr_ray.dataset.images import check_image, open_line_image
from ocr_ray.dataset.lines import SCHEMA, SPLITS, TextLine, is_lines_schema, table_to_lines
from ocr_ray.dataset.manifest import require_datasets
from ocr_ray.dataset.stored_rows import iter_groups, name_rows, read_footer, read_footers, read_group
from ocr_ray.errors import InputError, require_package
from ocr_ray.storage.location import Location, list_files

if TYPE_CHECKING:
    import datasets


class Lines(Sequence[TextLine]):
    """The lines of one split in their order, read when they are asked for.

    It has a length and gives a line by its index, so it is a map-style dataset for `torch.utils.data`. One
    row group (256 lines) is cached: reading in order is fast, random access reads a row group for each line.
    """

    def __init__(self, parts: Sequence[Location]) -> None:
        self._groups: list[tuple[Location, int]] = []
        sizes: list[int] = []
        for part, footer in zip(parts, read_footers(parts), strict=True):
            self._groups += [(part, group) for group in range(footer.num_row_groups)]
            sizes += [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        self._starts = [0, *accumulate(sizes)]
        self._kept: tuple[int, list[TextLine]] = (-1, [])

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> TextLine: ...
    @overload
    def __getitem__(self, index: slice) -> list[TextLine]: ...
    def __getitem__(self, index: int | slice) -> TextLine | list[TextLine]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"index must be less than {len(self)}, got {index}")
        group = bisect_right(self._starts, number) - 1
        if self._kept[0] != group:
            self._kept = group, self._read(group)
        return self._kept[1][number - self._starts[group]]

    def __iter__(self) -> Iterator[TextLine]:
        return (self[number] for number in range(len(self)))

    def _read(self, group: int) -> list[TextLine]:
        return table_to_lines(read_group(*self._groups[group]))


def open_lines(lines_uri: str, split: str = "train") -> Lines:
    """Return the lines of a dataset's split; `lines_uri` is a folder or `s3://bucket/key`.

    Raises:
        InputError: it is no complete dataset, or has no such split.

    Examples:
        >>> import ocr_ray
        >>> lines = ocr_ray.open_lines("data/lines", "train")
        >>> len(lines)
        6
        >>> line = lines[0]
        >>> line.line_id, line.font, ocr_ray.open_image(line).size
        ('000000000', '...', (384, 384))

        They are a dataset for PyTorch too:

        >>> import torch.utils.data
        >>> loader = torch.utils.data.DataLoader(lines, batch_size=4, collate_fn=list)
        >>> [len(batch) for batch in loader]
        [4, 2]
    """
    return Lines(list_parts(lines_uri, split))


def open_image(line: TextLine) -> Image.Image:
    """Return the image of a line, 8-bit greyscale if this package wrote it.

    Raises:
        InputError: it is no PNG or JPEG image, damaged, or too large.

    Examples:
        >>> import ocr_ray
        >>> ocr_ray.open_image(ocr_ray.open_lines("data/lines")[0]).mode
        'L'
    """
    return open_line_image(line.image_bytes, f"line {line.line_id}")


def as_datasets(lines_uri: str, split: str = "train") -> "datasets.Dataset":
    """Return a split as a `datasets.Dataset` of Hugging Face, whose column `image` is decoded.

    Files on S3, and those of other programs, are copied into the cache of `datasets`. Every row is checked
    first, because `datasets` decodes images of any format and size.

    Raises:
        InputError: the package `datasets` is not installed, this is no complete dataset with that split, or a
            row cannot be used.

    Examples:
        >>> import ocr_ray
        >>> dataset = ocr_ray.as_datasets("data/lines", "train")
        >>> dataset.num_rows, dataset[0]["image"].size
        (6, (384, 384))
    """
    require_package("datasets", needed_by="as_datasets", install="datasets")
    import datasets

    parts = list_parts(lines_uri, split)
    for part in parts:
        for table in iter_groups(part):
            _check_images(table, part)
    if all(part.is_local and _declares_images(part) for part in parts):
        return datasets.Dataset.from_parquet([part.path for part in parts])
    features = datasets.Features.from_arrow_schema(SCHEMA)
    return datasets.Dataset.from_generator(
        _iter_rows, features=features, gen_kwargs={"parts": parts}, split=split
    )


def _check_images(table: pa.Table, part: Location) -> None:
    """Check format and size of the images of a row group; none is decoded."""
    images = pc.struct_field(table["image"], "bytes").to_pylist()
    for content, name in zip(images, name_rows(table, str(part)), strict=True):
        check_image(content, name)


def _declares_images(part: Location) -> bool:
    """Return whether a part has our types, and says to `datasets` which column holds images."""
    footer = read_footer(part)
    return is_lines_schema(footer.schema.to_arrow_schema()) and b"huggingface" in footer.metadata


def _iter_rows(parts: Sequence[Location]) -> Iterator[dict[str, object]]:
    for part in parts:
        for table in iter_groups(part):
            yield from ({**dict.fromkeys(SCHEMA.names), **row} for row in table.to_pylist())


def list_parts(lines_uri: str, split: str) -> list[Location]:
    """Return the part files of a dataset's split, in order.

    Raises:
        InputError: it is no complete dataset, or has no such split.
    """
    if split not in SPLITS:
        raise InputError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    (dataset,) = require_datasets([lines_uri], "lines_uri").values()
    return list_split(dataset, split, "lines_uri")


def list_split(dataset: Location, split: str, flag: str) -> list[Location]:
    """Return the part files in the folder of a split, in order.

    Raises:
        InputError: there are none; the message names `flag`.
    """
    names = [name for name in list_files(dataset / split, recursive=False) if name.endswith(".parquet")]
    if not names:
        raise InputError(f"{flag} must hold a split {split!r}, found no .parquet files in {dataset / split}")
    return [dataset / split / name for name in names]
