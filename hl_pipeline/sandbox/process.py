"""A sandbox in a process of its own, for benches and demos that must not share an interpreter with it."""

from __future__ import annotations

import subprocess
import sys
from typing import Self


class SandboxProcess:
    """``python -m hl_pipeline.sandbox ARGUMENTS`` while the ``with`` block runs; ``url`` is where it answers.

    ``ws_url`` is its WebSocket. Its switchboard is at ``{url}/sandbox/...``. Ends with SIGTERM, and with
    SIGKILL if that takes more than ten seconds.

    Raises:
        RuntimeError: on entering, if the process ends without having listened.
    """

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "hl_pipeline.sandbox", *arguments]
        self.url = self.ws_url = ""

    def __enter__(self) -> Self:
        # the command is this interpreter and our own module; arguments come from the caller's code
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        output = self._process.stdout
        if output is not None:
            self.url, self.ws_url = output.readline().strip(), output.readline().strip()
        if not self.url:
            self.__exit__()
            raise RuntimeError(f"the sandbox did not start: {' '.join(self._command)}; see its error output above")
        return self

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for the process to end by itself; its exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        return self._process.wait(timeout=timeout)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
