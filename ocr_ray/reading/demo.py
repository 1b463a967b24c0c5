"""The job demo: a web page of this machine that reads the images dropped into it."""

import logging
import os
import socket
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ocr_ray.errors import InputError, ProductionError
from ocr_ray.model.recognizer import Recognizer, load_recognizer
from ocr_ray.reading.config import DemoConfig
from ocr_ray.reading.files import FILE_EXTENSIONS, open_pages
from ocr_ray.reading.read import ReadLine, read
from ocr_ray.storage.location import locate

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
SURE, UNSURE = "#1a7f37", "#b06a00"
HEADERS = ["page", "line", "text", "confidence"]
WIDTHS: list[str | int] = [60, 50, 300, 110]
STYLE = "#pages .thumbnail-item { aspect-ratio: auto; height: auto; }"
"""Pages keep their shape; gradio's are squares."""
ABOUT = """Drop an image of a line or of a page, or a PDF: upright print in one column on plain paper.
Its lines are found at the gaps between them; those with a confidence below {flag_below:.0%} are orange.
Nothing leaves this machine."""


def show_demo(config: DemoConfig) -> None:
    """Serve the page until the job is stopped.

    Raises:
        InputError: the model cannot be loaded, or the port is taken.
        ProductionError: the page does not answer, because of a proxy or of the load of the machine.
    """
    _check_port(config.port)
    page = build_demo(load_recognizer(config.model), config)
    import gradio as gr

    logging.getLogger("httpx").setLevel(logging.WARNING)  # gradio asks its own server whether it is up
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # none of Google's
    try:
        page.launch(
            server_name=HOST,
            server_port=config.port,
            inbrowser=config.browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            theme=theme,
            css=STYLE,
        )
    except ValueError as error:  # gradio asks its own page for an answer within seconds
        raise ProductionError(
            f"the page at http://{HOST}:{config.port} must answer, it does not: {error}; set "
            f"NO_PROXY={HOST} if a proxy is in use, or run it again when the machine has less to do"
        ) from error
    log.info("the demo is at http://%s:%d; Ctrl-C ends it", HOST, config.port)
    try:
        page.block_thread()
    except SystemExit:  # Ctrl-C and SIGTERM, the only ends there are
        page.close(verbose=False)


def build_demo(recognizer: Recognizer, config: DemoConfig) -> Any:
    """Return the page, a `gradio.Blocks`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
    import gradio as gr

    def read_file(path: str | None) -> tuple[list[tuple[Image.Image, str]], list[list[Any]]]:
        if path is None:
            return [], []
        try:
            return show_lines(recognizer, path, config.flag_below)
        except InputError as error:
            message = str(error).replace(path, Path(path).name)  # where gradio has put it says nothing
            raise gr.Error(message, duration=None, print_exception=False) from error

    with gr.Blocks(title="ocr_ray demo", analytics_enabled=False) as page:
        gr.Markdown(f"# ocr_ray demo\n{ABOUT.format(flag_below=config.flag_below)}")
        types = [f".{extension}" for extension in sorted(FILE_EXTENSIONS)]
        file = gr.File(label="image or PDF", file_types=types, type="filepath", height=120)
        pages = gr.Gallery(label="lines found", columns=1, height="auto", elem_id="pages")
        lines = gr.Dataframe(
            label="readings", headers=HEADERS, column_widths=WIDTHS, wrap=True, interactive=False
        )
        file.change(read_file, inputs=file, outputs=[pages, lines])
    return page


def show_lines(
    recognizer: Recognizer, path: str, flag_below: float
) -> tuple[list[tuple[Image.Image, str]], list[list[Any]]]:
    """Return each page of a file with its boxes and a caption, and the rows of the table.

    Raises:
        InputError: the file cannot be read.
    """
    by_page = {
        number: list(lines) for number, lines in groupby(read(recognizer, path), lambda line: line.page)
    }
    pages, rows = [], []
    for number, image in open_pages(path, locate(path)):
        lines = by_page.get(number, [])
        pages.append((_draw_boxes(image, lines, flag_below), f"page {number}: {len(lines)} lines"))
        rows += [
            [number, rank, line.text, f"{100 * line.confidence:.1f} %"] for rank, line in enumerate(lines, 1)
        ]
    return pages, rows


def _draw_boxes(page: Image.Image, lines: list[ReadLine], flag_below: float) -> Image.Image:
    """Return the page in colour with the numbered boxes of its lines."""
    drawn = page.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    for rank, line in enumerate(lines, 1):
        x0, y0, x1, y1 = line.box
        colour = UNSURE if line.confidence < flag_below or line.flags else SURE
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour)
        draw.text((x0 + 2, y0), str(rank), fill=colour)
    return drawn


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"--port must be free on {HOST}, {port} is not: {error.strerror}") from error
