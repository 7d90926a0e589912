"""The wish that a process stops: heard by everybody who waits in it, whoever says it."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue


class Halted(BaseException):
    """Work was given up because somebody wants the process to stop.

    No error, so whoever deals with errors and goes on lets it pass, as with KeyboardInterrupt.
    """


class Halt:
    """Wanted or not; for all threads of a process. A signal handler may ``request`` it.

    (An Event may not be set there: its lock is not reentrant, and the handler may have interrupted who holds it.)
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._told: SimpleQueue[None] = SimpleQueue()

    @property
    def wanted(self) -> bool:
        """Whether somebody wants us to stop."""
        return self._since is not None

    @property
    def age_seconds(self) -> float:
        """For how long somebody has wanted that; 0 while nobody does."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def request(self) -> None:
        """Want it. It cannot be taken back."""
        if self._since is None:
            self._since = time.monotonic()
            self._told.put(None)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait, but no longer than until somebody wants us to stop; true if so."""
        if self.wanted:
            return True
        try:
            self._told.get(timeout=seconds)
        except Empty:
            return self.wanted
        self._told.put(None)  # for the next who waits
        return True

    def check(self) -> None:
        """Go on only if nobody wants us to stop.

        Raises:
            Halted: somebody does.
        """
        if self.wanted:
            raise Halted("the process was told to stop")

    def sleep(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            Halted: somebody wants us to stop, before or meanwhile.
        """
        self.wait(seconds)
        self.check()
