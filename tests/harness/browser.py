"""Headless Chromium driven over its DevTools protocol: pages with keys, files and downloads."""

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp

TIMEOUT_S = 120


class Browser:
    """One page of a browser; https://chromedevtools.github.io/devtools-protocol/."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._next = 0
        self.console: list[str] = []
        """What pages logged, and what they were refused."""
        self.requests: list[str] = []
        self._loop.run_until_complete(self._connect(address))
        for domain in ("Page", "Runtime", "DOM", "Log", "Network"):
            self.send(f"{domain}.enable")

    async def _connect(self, address: str) -> None:
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(address, max_msg_size=0)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._loop.run_until_complete(self._send(method, parameters))

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._next += 1
        number = self._next
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(timeout=TIMEOUT_S)).data)
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        kind, values = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.console.append(json.dumps(values["exceptionDetails"]))
        elif kind == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.console.append(values["entry"]["text"])
        elif kind == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        end_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end_s:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.2)
        raise AssertionError(f"{expression} did not become true: {self.console}")

    def open(self, url: str, *, width_px: int = 1200, height_px: int = 900, dark: bool = False) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width_px,
            height=height_px,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=url)
        self.wait(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def press(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Escape": 27, "PageUp": 33, "PageDown": 34}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **text)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def download_to(self, folder: Path) -> None:
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self._loop.run_until_complete(self._session.close())
        self._loop.close()


@contextmanager
def browse(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile in `folder`."""
    chromium = shutil.which("chromium")
    assert chromium, "the browser's tests need Chromium: apt-get install chromium"
    profile = folder / "profile"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"]
    process = subprocess.Popen(
        [chromium, *flags, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.DEVNULL
    )
    try:
        port_file = profile / "DevToolsActivePort"
        end_s = time.monotonic() + TIMEOUT_S
        while not (port_file.is_file() and port_file.read_text().strip()):
            assert time.monotonic() < end_s, "Chromium did not start"
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urlopen(f"http://127.0.0.1:{port}/json") as answer:
            targets = json.load(answer)
        browser = Browser(next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page"))
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.wait()
