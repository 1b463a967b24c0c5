"""The job read: prints the lines of images, as a table on a terminal, else as JSON."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocr_ray.errors import InputError, ProductionError
from ocr_ray.reading.config import FLAG_BELOW, ReadConfig
from ocr_ray.reading.files import find_images
from ocr_ray.reading.read import BoxSource, Failure, ReadLine, load, read_images
from ocr_ray.storage.strict_json import to_json

log = logging.getLogger(__name__)


def read_and_print(config: ReadConfig) -> None:
    """Read the images that the flags name, and print their lines; a reader that goes away ends the job.

    Raises:
        InputError: an image does not exist, the model cannot be loaded, or nothing can be read.
        ProductionError: some images cannot be read; the lines of the others were printed.
    """
    images = find_images(config.images)
    boxes = BoxSource(uri=config.boxes, box_format=config.box_format) if config.boxes else None
    recognizer = load(config.model)
    show = _print_json if config.json or not sys.stdout.isatty() else _print_table
    num_lines, failures = 0, []
    try:
        for group in read_images(recognizer, images, boxes):
            lines = [line for line in group if isinstance(line, ReadLine)]
            failures += [line for line in group if isinstance(line, Failure)]
            num_lines += len(lines)
            if lines:
                show(lines)
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    _report(failures, num_lines)


def _report(failures: Sequence[Failure], num_lines: int) -> None:
    if failures and not num_lines:
        raise InputError("; ".join(failure.reason for failure in failures[:3]))
    for failure in failures:
        log.error("%s", failure.reason)
    if failures:
        names = sorted({failure.file for failure in failures})
        raise ProductionError(
            f"{len(names)} of the images cannot be read as a whole: {', '.join(names[:5])}; the lines of the "
            "others were printed"
        )


def _print_json(lines: Sequence[ReadLine]) -> None:
    for line in lines:
        values: dict[str, Any] = {**asdict(line), "confidence": round(line.confidence, 4)}
        sys.stdout.write(f"{to_json(values)}\n")
    sys.stdout.flush()


def _print_table(lines: Sequence[ReadLine]) -> None:
    """Print the lines; the name of a page stands at its first line only."""
    table = Table("image", "text", "confidence", box=None, header_style="bold", pad_edge=False)
    table.columns[2].justify = "right"
    before = None
    for line in lines:
        page = (line.file, line.page)
        name = line.file if line.page == 1 else f"{line.file}, page {line.page}"
        style = "yellow" if line.confidence < FLAG_BELOW or line.flags else ""
        text = Text(line.text)
        text.append("".join(f"  ({flag.replace('_', ' ')})" for flag in line.flags), "yellow")
        table.add_row(
            Text("" if page == before else name, overflow="fold"),
            text,
            Text(f"{100 * line.confidence:.0f} %", style),
        )
        before = page
    Console(file=sys.stdout).print(table)
