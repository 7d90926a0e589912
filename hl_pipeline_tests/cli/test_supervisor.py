from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hl_pipeline.cli.supervisor import Program, Stop, Supervisor, free_port, hold_port, listens, require_free
from hl_pipeline.model.failure import NeedsAPerson

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
STUBBORN = (
    sys.executable, "-c",
    "import signal, time, pathlib, sys\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "pathlib.Path(sys.argv[1]).touch()\n"
    "time.sleep(600)",
)  # fmt: skip


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for an event of another process, which can only be looked for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def written(path: Path) -> bool:
    return path.exists() and path.read_text() != ""


def supervisor(tmp_path: Path, stop: Stop | None = None, say: Callable[[str], None] = print) -> Supervisor:
    return Supervisor(dict(os.environ), tmp_path / "log", say, stop or Stop())


def test_a_child_that_falls_is_started_again(tmp_path: Path) -> None:
    stop, said, cleared = Stop(), list[str](), list[bool]()
    watch = supervisor(tmp_path, stop, said.append)
    watch.start(Program("sleeper", SLEEPER, before_restart=lambda: cleared.append(alive(first))))
    first = watch.pids()["sleeper"]
    assert cleared == []
    runner = threading.Thread(target=watch.run)
    runner.start()
    try:
        os.kill(first, signal.SIGKILL)
        until(lambda: watch.pids()["sleeper"] != first)
        assert alive(watch.pids()["sleeper"])
        assert "The sleeper ended (killed by SIGKILL); it starts again in 1 s." in said[0]
        assert cleared == [False], "once, when the first one was gone"
    finally:
        stop.request(signal.SIGTERM)
        runner.join()
        watch.shut_down()


def test_shutting_down_ends_the_whole_group(tmp_path: Path) -> None:
    grandchild = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(grandchild)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    watch = supervisor(tmp_path)
    watch.start(
        Program("parent", (sys.executable, "-c", code), lambda: grandchild.exists() and grandchild.read_text() != "")
    )
    pid = int(grandchild.read_text())
    assert alive(pid)
    watch.shut_down()
    until(lambda: not alive(pid))


def test_a_child_that_ignores_sigterm_is_killed_when_patience_ends(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    watch = supervisor(tmp_path)
    watch.start(Program("stubborn", (*STUBBORN, str(ready)), ready.exists))
    pid = watch.pids()["stubborn"]
    watch.shut_down(patience_seconds=0.2)
    assert not alive(pid)


def test_a_second_signal_ends_the_patience(tmp_path: Path) -> None:
    ready, stop = tmp_path / "ready", Stop()
    watch = supervisor(tmp_path, stop)
    watch.start(Program("stubborn", (*STUBBORN, str(ready)), ready.exists))
    pid = watch.pids()["stubborn"]
    stop.request(signal.SIGINT)
    assert not stop.at_once
    stop.request(signal.SIGINT)
    watch.shut_down(patience_seconds=600)
    assert not alive(pid)
    assert stop.signal == signal.SIGINT


def test_a_child_that_ends_while_starting_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    watch = supervisor(tmp_path)
    command = (sys.executable, "-c", "raise SystemExit('no such workspace')")
    with pytest.raises(NeedsAPerson, match="the server ended while starting, saying: no such workspace"):
        watch.start(Program("server", command, lambda: False))
    watch.shut_down()


def test_a_child_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    watch = supervisor(tmp_path)
    with pytest.raises(NeedsAPerson, match=r"the sleeper is not ready after 0\.1 s"):
        watch.start(Program("sleeper", SLEEPER, lambda: False, patience_seconds=0.1))
    watch.shut_down()


def test_waiting_for_a_child_ends_when_somebody_wants_us_to_stop(tmp_path: Path) -> None:
    stop = Stop()
    watch = supervisor(tmp_path, stop)
    stop.request(signal.SIGTERM)
    watch.start(Program("sleeper", SLEEPER, lambda: False))
    assert stop.wanted
    watch.shut_down()


def test_a_child_dies_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import os, pathlib, time\n"
        "from hl_pipeline.cli.supervisor import Program, Stop, Supervisor\n"
        f"watch = Supervisor(dict(os.environ), pathlib.Path({str(tmp_path)!r}) / 'log', print, Stop())\n"
        f"watch.start(Program('sleeper', {SLEEPER!r}))\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(watch.pids()['sleeper']))\n"
        "time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: written(pid_file))
    child = int(pid_file.read_text())
    assert alive(child)
    owner.kill()
    owner.wait()
    until(lambda: not alive(child))


def test_children_hear_sigint_even_if_the_shell_had_it_ignored(tmp_path: Path) -> None:
    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        watch = supervisor(tmp_path)
        watch.start(Program("sleeper", SLEEPER))
    finally:
        signal.signal(signal.SIGINT, kept)
    pid = watch.pids()["sleeper"]
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:2] == [b"-c"])
    ignored = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    assert not int(ignored.split()[1], 16) & (1 << (signal.SIGINT - 1))
    watch.shut_down()


def test_the_last_log_is_kept_when_a_child_starts_again(tmp_path: Path) -> None:
    for word in ("first", "second"):
        done = tmp_path / word
        watch = supervisor(tmp_path)
        command = (
            sys.executable,
            "-c",
            f"print({word!r}, flush=True); open({str(done)!r}, 'w'); import time; time.sleep(9)",
        )
        watch.start(Program("speaker", command, done.exists))
        watch.shut_down()
    assert (tmp_path / "log" / "speaker.log").read_text() == "second\n"
    assert (tmp_path / "log" / "speaker.before.log").read_text() == "first\n"


def test_signals_are_taken_inside_the_block_and_given_back_after_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stop().listening() as stop:
        assert not stop.wanted
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(0)
        assert stop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_taken_port_is_refused_with_what_needs_it_and_how_to_choose_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert listens(port)
        with pytest.raises(NeedsAPerson, match=f"port {port} on 127.0.0.1, which the shop needs.*another with --door"):
            require_free(port, "the shop", "--door")
    require_free(port, "the shop", "--door")
    assert not listens(free_port())


def test_a_port_is_looked_for_at_the_address_where_it_is_needed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        require_free(port, "the shop", "--door")
        with pytest.raises(NeedsAPerson, match=f"port {port} on 127.0.0.2"):
            require_free(port, "the shop", "--door", "127.0.0.2")


def test_a_held_port_is_given_to_one_only() -> None:
    with hold_port(0) as first:
        port = first.getsockname()[1]
        with hold_port(port) as second:
            assert second.getsockname()[1] != port
        assert listens(port), "it takes connections before anybody serves there"
