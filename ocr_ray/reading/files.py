"""What can be read: image files, folders of them, PDFs, and images in memory, opened as greyscale pages."""

import io
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
from PIL import Image

from ocr_ray.dataset.images import encode_as_file, name_image
from ocr_ray.errors import CropError, InputError, require_package
from ocr_ray.pages.files.page_image import MAX_PAGE_PIXELS, decode_page
from ocr_ray.pages.files.store import IMAGE_EXTENSIONS, page_id_of
from ocr_ray.pages.labels.page_label import PageLabel
from ocr_ray.storage.location import Location, list_files, locate, preflight, read_bytes

PDF_DPI = 200
"""Print of 10 points is 28 px high."""
PDF, PDF_EXTENSION = b"%PDF-", "pdf"
FILE_EXTENSIONS = frozenset({*IMAGE_EXTENSIONS, PDF_EXTENSION})
LABEL_EXTENSION = ".json"

ImageLike = Image.Image | bytes | str | Path
FileOrImage = Location | Image.Image | bytes
NamedImage = tuple[str, FileOrImage]
"""An image, or where its file is, and its name."""


def find_images(images: Sequence[ImageLike] | ImageLike) -> list[NamedImage]:
    """Return the images with their names; those in a folder by name, with those of its sub-folders.

    Raises:
        InputError: there is no image, a path does not exist, or a folder holds no image.
    """
    given = [images] if isinstance(images, ImageLike) else list(images)
    if not given:
        raise InputError("images must name at least one file or folder, got none")
    found: list[NamedImage] = []
    for number, image in enumerate(given):
        if isinstance(image, str | Path):
            found += _find_files(str(image))
        else:
            found.append((name_image(image, number), image))
    return found


def find_label(boxes: str, name: str, number_of_images: int) -> bytes:
    """Return the label file of an image: `boxes`, or the file of its name in that folder.

    Raises:
        InputError: there is none, or one label is given for several images.
    """
    location, kind = _look_up(boxes, "--boxes")
    if kind == pafs.FileType.File:
        if number_of_images > 1:
            raise InputError(
                f"--boxes must be a folder of labels for {number_of_images} images, {boxes} is a file"
            )
        return read_bytes(location)
    stem = page_id_of(name) or name
    names = [path for path in list_files(location) if _stem(path) == stem and path.endswith(LABEL_EXTENSION)]
    if not names:
        raise InputError(f"--boxes must hold a label for each image, {boxes} has no {stem}{LABEL_EXTENSION}")
    return read_bytes(location / names[0])


def open_pages(
    name: str, image: FileOrImage, label: PageLabel | None = None
) -> Iterator[tuple[int, Image.Image]]:
    """Yield the pages of an image or PDF as 8-bit greyscale with their numbers from 1.

    A photo with an EXIF orientation is upright, with a label if the label fits. A PDF has `PDF_DPI`.

    Raises:
        InputError: it cannot be opened; the message has `name`. Pages of a PDF before it are yielded.
    """
    content = read_bytes(image) if isinstance(image, Location) else encode_as_file(image, name)
    if content.startswith(PDF):
        yield from _render_pdf(name, content)
        return
    try:
        yield 1, decode_page(content, label, upright=True).image
    except CropError as error:
        raise InputError(f"{name} must be a PNG, JPEG or PDF file: {error.detail}") from error


def _find_files(path: str) -> list[NamedImage]:
    location, kind = _look_up(path, "an image")
    if kind == pafs.FileType.File:
        return [(path, location)]
    names = [name for name in list_files(location) if _is_shown(name) and _extension(name) in FILE_EXTENSIONS]
    if not names:
        raise InputError(f"{path} must hold images (.png, .jpg, .pdf), the folder has none")
    return [(f"{path.rstrip('/')}/{name}", location / name) for name in names]


def _look_up(path: str, flag: str) -> tuple[Location, Any]:
    location = locate(path, flag)
    with preflight(location, flag) as quick:
        kind = quick.filesystem.get_file_info(quick.path).type
    if kind not in (pafs.FileType.File, pafs.FileType.Directory):
        raise InputError(f"{flag} must be an existing file or folder, {path} does not exist")
    return location, kind


def _is_shown(path: str) -> bool:
    return not any(part.startswith(".") for part in path.split("/"))


def _extension(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _stem(path: str) -> str:
    return unicodedata.normalize("NFC", Path(path).stem)


def _render_pdf(name: str, content: bytes) -> Iterator[tuple[int, Image.Image]]:
    require_package("pypdfium2", needed_by=f"reading {name}", install="ocr_ray[pdf]")
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(io.BytesIO(content))
        with closing(document):
            for index, page in enumerate(document):
                scale = PDF_DPI / 72
                width, height = (scale * side for side in page.get_size())
                if width * height > MAX_PAGE_PIXELS:
                    raise InputError(
                        f"{name} must have pages of at most {MAX_PAGE_PIXELS} px at {PDF_DPI} dpi, page "
                        f"{index + 1} has {width:.0f} x {height:.0f}"
                    )
                yield index + 1, page.render(scale=scale, grayscale=True).to_pil().convert("L")
    except pypdfium2.PdfiumError as error:
        raise InputError(f"{name} must be a PDF that opens without a password: {error}") from error
