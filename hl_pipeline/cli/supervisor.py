"""Child processes that belong together: started, restarted when they fall, stopped in bounded time, never orphaned.

Each child leads a process group of its own, so that Ctrl-C reaches the supervisor alone and the children are
stopped in order, with whatever they started. A child whose supervisor is killed outright gets SIGTERM from the
kernel. SIGINT is reset in children: Dagster's processes map SIGTERM to what SIGINT does, and a shell that starts
hl with ``&`` has SIGINT ignored for all that follow.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from hl_pipeline.cli.stopping import ending
from hl_pipeline.model.failure import NeedsAPerson
from hl_pipeline.model.halt import Halt

#: A child that lived this long starts over with the shortest pause.
_SETTLED_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 30.0
_TICK_SECONDS = 0.2
#: Those whose turn it is to stop get so long before the next are told, too.
_TURN_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1
_LAST_LINES = 12


@dataclass(frozen=True, slots=True)
class Program:
    """What to keep running. ``is_ready`` is asked until it says yes, within ``patience_seconds`` of the start.

    ``stops`` is its turn when all are stopped: who gives out work goes before those who do it, and what they need last.
    ``inherits`` are open file descriptors of ours that its process gets under the same numbers. ``before_restart`` is
    called when its process and whatever that had started are gone, before the next one starts.
    """

    name: str
    command: Sequence[str]
    is_ready: Callable[[], bool] = lambda: True
    patience_seconds: float = 90.0
    stops: int = 1
    inherits: tuple[int, ...] = ()
    before_restart: Callable[[], None] = lambda: None


class Stop:
    """A wish to stop: SIGTERM, SIGINT (Ctrl-C) or, but under `nohup`, SIGHUP. ``at_once`` from the second signal on."""

    def __init__(self) -> None:
        self._halt = Halt()
        self.signal: int | None = None
        self.at_once = False

    @property
    def wanted(self) -> bool:
        """Whether somebody wants us to stop."""
        return self._halt.wanted

    def wait(self, seconds: float) -> bool:
        """Wait, but no longer than until somebody wants us to stop; true if so."""
        return self._halt.wait(seconds)

    def request(self, number: int, _frame: FrameType | None = None) -> None:
        """The signal handler."""
        self.at_once = self.wanted
        self.signal = self.signal or number
        self._halt.request()

    @contextlib.contextmanager
    def listening(self) -> Iterator[Stop]:
        """Take the signals while the block runs."""
        kept = {number: signal.signal(number, self.request) for number in ending()}
        try:
            yield self
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)


@dataclass(slots=True)
class _Child:
    """One program's process, and when it may be started again."""

    program: Program
    process: subprocess.Popen[bytes]
    started: float
    pause: float = 1.0
    restart_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs programs with the environment ``environ`` and a log file each in ``logs``.

    ``say`` gets a line when a child falls or comes back.
    """

    environ: Mapping[str, str]
    logs: Path
    say: Callable[[str], None]
    stop: Stop
    _children: list[_Child] = field(default_factory=list)

    def start(self, program: Program) -> None:
        """Start a program and wait until it is ready, or somebody wants us to stop.

        Raises:
            NeedsAPerson: it ended instead, or was not ready in time; its last lines are in the message.
        """
        child = _Child(program, self._launch(program), time.monotonic())
        self._children.append(child)
        while not program.is_ready():
            if child.process.poll() is not None:
                raise NeedsAPerson(f"the {program.name} ended while starting, saying: {self._last_words(program)}")
            if time.monotonic() - child.started > program.patience_seconds:
                raise NeedsAPerson(
                    f"the {program.name} is not ready after {program.patience_seconds:g} s: {self._last_words(program)}"
                )
            if self.stop.wait(_TICK_SECONDS):
                return

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Keep every program running until somebody wants us to stop; ``on_tick`` is called five times a second."""
        while not self.stop.wait(_TICK_SECONDS):
            for child in self._children:
                self._tend(child, time.monotonic())
            on_tick()

    def shut_down(self, patience_seconds: float = 9.0) -> None:
        """End every child and whatever it started: SIGTERM, then SIGKILL when the patience or the user's is over.

        Each has its turn, but nobody waits long for those before him; ``patience_seconds`` is for all together.
        """
        deadline = time.monotonic() + patience_seconds
        turns = sorted({child.program.stops for child in self._children})
        for turn in turns:
            mine = [child for child in self._children if child.program.stops == turn]
            for child in mine:
                if child.process.poll() is None:
                    _signal_group(child, signal.SIGTERM)
            self._await(mine, min(deadline, time.monotonic() + _TURN_SECONDS))
        self._await(self._children, deadline)
        for child in self._children:
            _signal_group(child, signal.SIGKILL)  # the leader if it stayed, and what outlived it in its group
            child.process.wait()
        self._children.clear()

    def _await(self, children: Sequence[_Child], until: float) -> None:
        """Until they have ended, the time or the user's patience is over."""
        while any(child.process.poll() is None for child in children) and time.monotonic() < until:
            if self.stop.at_once:
                return
            time.sleep(0.05)

    def pids(self) -> dict[str, int]:
        """Programs by name, with the process each runs in now."""
        return {child.program.name: child.process.pid for child in self._children}

    def _tend(self, child: _Child, now: float) -> None:
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.program.before_restart()
                child.process, child.started, child.restart_at = self._launch(child.program), now, None
            return
        code = child.process.poll()
        if code is None:
            return
        _signal_group(child, signal.SIGKILL)
        if now - child.started > _SETTLED_SECONDS:
            child.pause = 1.0
        child.restart_at = now + child.pause
        self.say(
            f"The {child.program.name} ended ({_how(code)}); it starts again in {child.pause:g} s. "
            f"Its log: {self._log(child.program)}"
        )
        child.pause = min(child.pause * 2, _LONGEST_PAUSE_SECONDS)

    def _launch(self, program: Program) -> subprocess.Popen[bytes]:
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = self._log(program)
        if log.exists():
            log.replace(log.with_suffix(".before.log"))
        with log.open("wb") as out:
            return subprocess.Popen(  # noqa: S603 - our own programs, arguments from our own settings
                list(program.command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(self.environ),
                start_new_session=True,
                pass_fds=program.inherits,
                preexec_fn=_tie_to_parent,
            )

    def _log(self, program: Program) -> Path:
        return self.logs / f"{program.name.replace(' ', '-')}.log"

    def _last_words(self, program: Program) -> str:
        lines = self._log(program).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join(lines[-_LAST_LINES:]) or "nothing"


def require_free(port: int, what: str, how: str, host: str = "127.0.0.1") -> None:
    """Refuse a port that somebody listens on, at the address ``host`` where it is needed.

    Raises:
        NeedsAPerson: it is taken; ``what`` needs it, ``how`` tells how to choose another.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise NeedsAPerson(
                f"port {port} on {host}, which {what} needs, cannot be had ({error.strerror}): "
                f"stop the program that holds it, or choose another with {how}"
            ) from error


def hold_port(usual: int) -> socket.socket:
    """A listening socket on loopback: on the usual port, or on a free one where somebody has that.

    Who is to serve there inherits it. A port that is only looked up can be taken by another before it is used.
    """
    try:
        return socket.create_server(("127.0.0.1", usual), backlog=512)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=512)


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody takes connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _tie_to_parent() -> None:
    """Between fork and exec: die with the parent, and hear SIGINT and SIGTERM again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal_group(child: _Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # nobody of the group is left
        os.killpg(child.process.pid, number)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _libc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "prctl") else None  # Linux alone has it


#: Loaded before any fork: nothing may be imported or looked up between fork and exec.
_LIBC = _libc()
