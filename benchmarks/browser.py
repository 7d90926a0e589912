"""A headless Chromium for pictures of pages: opened, waited for, clicked in, photographed, over its DevTools protocol.

Needs ``chromium`` on this machine and nothing else beyond our own dependencies.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.2
_MOST_FRAME_BYTES = 64 * 1024 * 1024


class Page:
    """One tab, ``width`` CSS pixels wide. Every wait ends with TimeoutError after ``PATIENCE_SECONDS``."""

    def __init__(self, socket: ClientConnection, width: int, height: int) -> None:
        self._socket = socket
        self._number = 0
        self._width = width
        self.resize(height)
        self._ask("Page.enable")

    def resize(self, height: int) -> None:
        """Another height of the window."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=self._width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def light(self, scheme: str) -> None:
        """``light`` or ``dark``, as the person's system would say."""
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        """Go there; what a page loads afterwards is waited for by `until`."""
        self._ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def tell(self, script: str) -> Any:
        """The value of a JavaScript expression.

        Raises:
            RuntimeError: it threw.
        """
        found = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until the expression is true, and return its value."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.tell(script)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true within {PATIENCE_SECONDS:g} s: {script}")
            time.sleep(_LOOK_SECONDS)
        return found

    def until_text(self, text: str) -> None:
        """Wait until the page shows the text."""
        self.until(f"document.body.innerText.includes({json.dumps(text)})")

    def click_text(self, text: str, among: str = "button, a, [role=tab], [role=button]") -> None:
        """Click the first visible element of ``among`` that says ``text``."""
        self.until(
            f"(() => {{ const it = [...document.querySelectorAll({json.dumps(among)})]"
            f".find(e => e.innerText.trim() === {json.dumps(text)} && e.offsetParent !== null);"
            " if (it) it.click(); return !!it })()"
        )

    def calm(self, seconds: float = 1.5) -> None:
        """Wait until the page's text has not changed for so long: its queries are answered."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        text, since = self.tell("document.body.innerHTML.length"), time.monotonic()
        while time.monotonic() - since < seconds and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            if (now := self.tell("document.body.innerHTML.length")) != text:
                text, since = now, time.monotonic()

    def picture(self) -> bytes:
        """What the window shows, as a PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE_SECONDS))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])


@contextmanager
def browser(width: int = 1400, height: int = 900) -> Iterator[Page]:
    """A browser with one empty page; it ends with the block.

    Raises:
        FileNotFoundError: no Chromium is installed.
        TimeoutError: it did not start.
    """
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise FileNotFoundError(f"none of {', '.join(NAMES)} is installed: install Chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--force-color-profile=srgb", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_socket_of(Path(profile)), max_size=_MOST_FRAME_BYTES) as socket:
                yield Page(socket, width, height)
        finally:
            process.terminate()
            process.wait(10)


def _socket_of(profile: Path) -> str:
    """Where a new tab listens; the browser writes its port into its profile."""
    noted, deadline = profile / "DevToolsActivePort", time.monotonic() + PATIENCE_SECONDS
    while not noted.exists() or not noted.read_text().strip():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Chromium was not ready within {PATIENCE_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS)
    port = int(noted.read_text().split()[0])
    with urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")) as answer:
        return str(json.load(answer)["webSocketDebuggerUrl"])
