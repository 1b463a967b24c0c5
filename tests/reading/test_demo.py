"""The local web page in Chromium: an image is dropped in, its lines are shown; `make soak`."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from harness.browser import browse
from PIL import Image, ImageDraw, ImageFont

from ocr_ray.cli.commands import run_named_job
from ocr_ray.storage.uri import BASE_MODEL

PROGRAM = "from ocr_ray.cli.commands import main; main()"
TIMEOUT_S = 300


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(model: str, port: int, folder: Path) -> Iterator[str]:
    """Run the demo until the end of the block; its exit code must be 0."""
    words = ["demo", "--model", model, "--port", str(port), "--no-browser"]
    environment = {**os.environ, "HOME": str(folder)}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stderr=log, env=environment)
        url = f"http://127.0.0.1:{port}/"
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            try:
                with urlopen(url):
                    break
            except URLError:
                assert process.poll() is None, (folder / "log.txt").read_text()
                assert time.monotonic() < end_s
                time.sleep(0.5)
        try:
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0, (folder / "log.txt").read_text()


@pytest.mark.soak
def test_a_dropped_image_shows_its_lines_and_nothing_leaves_the_machine(fonts, port, tmp_path) -> None:
    texts = ["탁자 7개", "3 × 8 = 24", "모두 몇 개인지"]
    image = Image.new("L", (400, 160), 255)
    face = ImageFont.truetype(io.BytesIO(fonts[1].content), 20, fonts[1].face)
    for rank, text in enumerate(texts):
        ImageDraw.Draw(image).text((20, 20 + 40 * rank), text, 0, font=face)
    image.save(tmp_path / "page.png")
    (tmp_path / "broken.png").write_text("no image")
    with serve(BASE_MODEL, port, tmp_path) as url, browse(tmp_path) as browser:
        browser.open(url)
        browser.wait("document.querySelector('input[type=file]') !== null")
        browser.choose_file("input[type=file]", tmp_path / "page.png")
        browser.wait("document.body.innerText.includes('page 1: 3 lines')")
        for text in [*texts, " %"]:
            browser.wait(f"document.body.innerText.includes({text!r})")
        browser.screenshot(tmp_path / "demo.png")
        outside = [each for each in browser.requests if not each.startswith((url, "data:", "blob:"))]
        assert outside == []
        browser.open(url)
        browser.wait("document.querySelector('input[type=file]') !== null")
        browser.choose_file("input[type=file]", tmp_path / "broken.png")
        browser.wait("document.body.innerText.includes('broken.png must be a PNG, JPEG or PDF file')")
        assert "gradio/" not in browser.evaluate("document.body.innerText")  # the folder of its copy


def test_a_port_that_is_taken_exits_2(model_folder, port, capfd) -> None:
    with socket.create_server(("127.0.0.1", port)), pytest.raises(SystemExit) as exit_info:
        run_named_job("demo", arguments=["--model", str(model_folder), "--port", str(port)])
    assert exit_info.value.code == 2
    err = capfd.readouterr().err
    assert f"--port must be free on 127.0.0.1, {port} is not" in err or "needs the package gradio" in err
