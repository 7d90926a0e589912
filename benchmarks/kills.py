"""``python -m benchmarks.kills``: processes of ours are killed at random moments, and nothing may be lost or left.

A round: start one, wait a random time, end it with SIGKILL or SIGTERM in turns, let recovery run, collect in calm.
Then the candles and the ledger of all that closed must equal those of a database that nobody disturbed, the ledger
must hold, and no process, session, lock, lease, place in a queue or reservation may be left. `hl up` is met as a tree:
its children one by one, its Postgres, and itself. Exit code 1 when a round fails.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.kills_stage import (
    COINS,
    HISTORY_DAYS,
    Stage,
    connected,
    hl,
    left,
    processes_of,
    run,
    spoken,
    start,
    until,
)
from benchmarks.kills_tree import Tree
from hl_pipeline.defs.launch import prepare_instance
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.sandbox.process import SandboxProcess
from hl_pipeline.storage.embedded import EmbeddedPostgres
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.series import violations

#: From the first signal to the end of the process.
STOP_SECONDS = 15.0
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
#: When each is killed, in seconds after its start: while it loads, works, waits, and perhaps after it has ended.
MOMENTS = {"collect": (0.3, 6.0), "backfill": (0.3, 6.0), "stream": (0.5, 8.0), "run": (3.0, 14.0)}
COMMANDS = {
    "collect": hl("collect"),
    "backfill": hl("backfill", "--incomplete"),
    "stream": hl("stream"),
    "run": [sys.executable, "-m", "dagster", "job", "execute", "-m", "hl_pipeline.definitions", "-j", "collect"],
}
#: So long may it take until what a kill left undone is done.
CALM_SECONDS = 60.0
#: Kills in one life of `hl up`, the last that of the whole.
TREE_KILLS = 5


#: How a round may fail to come to its end.
_NOT_ITS_END = (AssertionError, RuntimeError, OSError, PipelineError, psycopg.Error, subprocess.SubprocessError)


@dataclass(slots=True)
class Round:
    """What one kill came to."""

    number: int
    target: str
    signal: signal.Signals
    after_s: float
    notes: list[str] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)

    def hold(self, found: bool, wrong: str) -> None:
        """Keep ``wrong`` unless ``found``."""
        if not found:
            self.wrongs.append(wrong)

    def __str__(self) -> str:
        verdict = "ok" if not self.wrongs else "WRONG: " + "; ".join(self.wrongs)
        told = f"{self.number:3} {self.signal.name} {self.target:13} after {self.after_s:4.1f} s"
        return f"{told}  {', '.join(self.notes)}  {verdict}"


@dataclass(slots=True)
class Drill:
    """The rounds on one stage, drawn from one seed."""

    stage: Stage
    chance: random.Random
    dagster_url: str = ""
    rounds: list[Round] = field(default_factory=list)

    def play(self, target: str, kills: int) -> None:
        """A round, or one life of `hl up`; one that does not come to its end has gone wrong, too."""
        try:
            if target == "up":
                self.tree(kills)
            else:
                self.alone(target)
        except (
            AssertionError,
            RuntimeError,
            OSError,
            PipelineError,
            psycopg.Error,
            subprocess.SubprocessError,
        ) as error:
            made = self.rounds[-1]
            made.wrongs.append(f"it did not come to its end: {type(error).__name__}: {error}")
            print(made, flush=True)

    def alone(self, target: str) -> None:
        """One process, in a database and a home of its own."""
        made = self._next(target, self.chance.uniform(*MOMENTS[target]))
        weight = self.chance.choice(("300", "100000"))  # with little it waits for weight most of the time
        self.stage.slow_down(self.chance.choice((50, 300, 300, 6_000)))
        home = Path(tempfile.mkdtemp(prefix="hl-kill-"))
        try:
            # the stream needs a past, the others are to collect it
            filled = target == "stream"
            with self.stage.database(self.stage.reference if filled else self.stage.base) as url:
                environ = self.stage.environ(home, url, **self._of_dagster(target, home))
                if target == "backfill":  # it completes what a collection has begun
                    _end(start(hl("collect"), environ, home / "before"), signal.SIGTERM, 1.5)
                process = start(COMMANDS[target], environ | {"HL_WEIGHT_PER_MINUTE": weight}, home / "output")
                time.sleep(made.after_s)
                self._kill(made, process, url, home)
                self.stage.switches.tell_the_truth()
                self._recover(made, target, environ, home)
                self.judge(made, url, environ)
                self._nothing_left(made, url, home)
        finally:
            self.stage.switches.tell_the_truth()
            _end_all(home)
            shutil.rmtree(home, ignore_errors=True)
        print(made, flush=True)

    def tree(self, kills: int) -> None:
        """One life of `hl up`: children are killed one by one, then the whole."""
        home = Path(tempfile.mkdtemp(prefix="hl-kill-"))
        tree = Tree(home, self.stage.environ(home, None))
        try:
            tree.start()
            for number in range(kills):
                target = "up" if number == kills - 1 else self.chance.choice(tree.roles())
                made = self._next(target, self.chance.uniform(0.0, 5.0))
                time.sleep(made.after_s)
                if target == "up":
                    self._end_tree(made, tree)
                else:
                    made.notes.append(tree.kill(target, made.signal))
                    self.judge(made, tree.url(), tree.environ)
                    print(made, flush=True)
        finally:
            tree.close()
            _end_all(home)
            shutil.rmtree(home, ignore_errors=True)

    def judge(self, made: Round, url: str, environ: dict[str, str]) -> None:
        """Collect in calm until nothing is open, beside the undisturbed database; both must then say the same."""
        until_ms = self.stage.settled_until_ms()
        said = self.stage.calm(self.stage.environ(self.stage.home, self.stage.reference), until_ms)
        expected = self.stage.content(self.stage.reference, until_ms)
        made.hold(expected[0][1] > len(COINS) * HISTORY_DAYS * 1440, f"the undisturbed one is not full: {spoken(said)}")
        deadline = time.monotonic() + CALM_SECONDS
        while True:
            said = self.stage.calm(environ, until_ms)
            found = self.stage.content(url, until_ms)
            if found == expected or time.monotonic() > deadline:
                break
        made.notes.append(f"{found[0][1]} candles")
        if found != expected:
            differs = self.stage.difference(url, until_ms)
            made.wrongs.append(f"the tables differ: {found} instead of {expected}; {differs}; {spoken(said)}")
        with Database(url) as database, database.connection() as connection:
            broken = violations(connection)
        made.hold(not broken, f"the ledger is broken: {broken[:3]}")

    def _next(self, target: str, after_s: float) -> Round:
        made = Round(len(self.rounds) + 1, target, SIGNALS[len(self.rounds) % 2], after_s)
        self.rounds.append(made)
        return made

    def _of_dagster(self, target: str, home: Path) -> dict[str, str]:
        if target != "run":
            return {}
        self.dagster_url = self.dagster_url or self.stage.empty()
        return prepare_instance(home / "dagster", Database(self.dagster_url, dagster_url=self.dagster_url).dagster_url)

    def _kill(self, made: Round, process: subprocess.Popen[bytes], url: str, home: Path) -> None:
        """End it; after SIGTERM nothing at all may be left, after SIGKILL what runs out by itself."""
        ended_before = process.poll()
        seconds = _end(process, made.signal)
        made.notes.append(f"ended by itself ({ended_before})" if ended_before is not None else f"{seconds:.1f} s")
        made.hold(seconds <= STOP_SECONDS, f"it took {seconds:.1f} s to stop")
        made.hold(_gone(home), f"processes stayed: {processes_of(home)}")
        if made.signal == signal.SIGTERM:
            found = left(url)
            for what in ("unsettled", "leases", "claims") if made.target != "run" else ("leases",):
                made.hold(not found[what], f"{found[what]} {what} right after SIGTERM")

    def _recover(self, made: Round, target: str, environ: dict[str, str], home: Path) -> None:
        """Start it again; it must end well."""
        if target == "stream":
            process = start(COMMANDS[target], environ, home / "again")
            until(lambda: "Streaming" in (home / "again").read_text() or process.poll() is not None, 30, "it streams")
            time.sleep(1.0)
            seconds = _end(process, signal.SIGTERM)
            made.hold(
                process.returncode == 0 and seconds <= STOP_SECONDS, f"again: {process.returncode}, {seconds:.1f} s"
            )
            return
        done = run(COMMANDS[target], environ)
        made.hold(done.returncode == 0, f"again it ended with {done.returncode}: {spoken(done.stdout + done.stderr)}")

    def _nothing_left(self, made: Round, url: str, home: Path) -> None:
        """All processes have ended: what they held is given back, or runs out in its time."""
        made.hold(_gone(home), f"processes are left: {processes_of(home)}")
        try:
            until(
                lambda: not any(left(url)[what] for what in ("sessions", "advisory_locks", "claims", "places")),
                12,
                "a clean end",
            )
        except TimeoutError:
            made.wrongs.append(f"left: {left(url)}")
        found = left(url)
        made.notes.append(", ".join(f"{what} {count}" for what, count in found.items() if count) or "nothing left")
        killed = made.signal == signal.SIGKILL
        made.hold(killed or not (found["unsettled"] or found["leases"]), f"left: {found}")
        made.hold(_expires(url), "what is left does not run out in its time")

    def _end_tree(self, made: Round, tree: Tree) -> None:
        """The whole: SIGTERM ends it in time; after SIGKILL it starts again, takes over, and is then ended in order."""
        seconds = tree.end(made.signal)
        made.notes.append(f"{seconds:.1f} s")
        if made.signal == signal.SIGKILL:
            made.notes.append(tree.start())
            self.judge(made, tree.url(), tree.environ)
            seconds = tree.end(signal.SIGTERM)
            made.notes.append(f"then SIGTERM {seconds:.1f} s")
        made.hold(seconds <= STOP_SECONDS, f"it took {seconds:.1f} s to stop")
        made.hold(tree.returncode == 0, f"it ended with {tree.returncode}")
        made.hold(_gone(tree.home), f"processes are left: {processes_of(tree.home)}")
        with tree.alone() as url:  # Postgres by itself: what is in the tables now, nobody will change
            self.judge(made, url, tree.environ)
            self._nothing_left_but(made, url)
        print(made, flush=True)

    def _nothing_left_but(self, made: Round, url: str) -> None:
        found = left(url)
        made.notes.append(", ".join(f"{what} {count}" for what, count in found.items() if count) or "nothing left")
        made.hold(_expires(url), "what is left does not run out in its time")


def _expires(url: str) -> bool:
    """Whether every lease in force and every reservation ends within its length from now."""
    with connected(url) as connection:
        row = connection.execute(
            """
            select not exists (select from hl.lease where held_until > clock_timestamp() + interval '5 minutes')
                and not exists (select from hl.rate_limit_spend where not settled and at > clock_timestamp())
            """
        ).fetchone()
    return row is not None and bool(row[0])


def _gone(home: Path, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while processes_of(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _end(process: subprocess.Popen[bytes], number: signal.Signals, after_s: float = 0.0) -> float:
    """Signal it and wait; the seconds that took. Who does not end in half a minute is killed."""
    time.sleep(after_s)
    began = time.monotonic()
    process.send_signal(number)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return time.monotonic() - began


def _end_all(home: Path) -> None:
    """After a failed round: whatever of it still runs."""
    for pid in processes_of(home):
        subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


@contextmanager
def opened(seed: int, home: Path) -> Iterator[Drill]:
    """The stage set: sandbox, Postgres, and the undisturbed database filled."""
    coins = ("--coins", ",".join(COINS), "--history-days", str(HISTORY_DAYS))
    with (
        SandboxProcess("--seed", str(seed), "--limiter", "off", "--quiet-mode", "dense", *coins) as exchange,
        EmbeddedPostgres(home / "server") as server,
    ):
        stage = Stage(server.dsn("postgres"), exchange.url, home, migrate)
        try:
            done = run(hl("collect"), stage.environ(home, stage.reference))
            assert done.returncode == 0, done.stderr
            yield Drill(stage, random.Random(seed))
        finally:
            stage.close()


def plan(rounds: int, chance: random.Random) -> list[tuple[str, int]]:
    """What is killed how often: two fifths in lives of `hl up`, the others one by one, well mixed."""
    lives = max(rounds * 2 // 5 // TREE_KILLS, 0)
    alone = rounds - lives * TREE_KILLS
    targets = [(name, 1) for number in range(alone) for name in [list(MOMENTS)[number % len(MOMENTS)]]]
    targets += [("up", TREE_KILLS)] * lives
    chance.shuffle(targets)
    return targets


def main() -> int:
    """Drill, print each round, exit 1 when one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[*MOMENTS, "up"], help="kill nothing else")
    found = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="hl-kills-"))
    began = time.monotonic()
    print(f"seed {found.seed}, {found.rounds} rounds", flush=True)
    try:
        with opened(found.seed, home) as drill:
            if found.only == "up":
                todo = [("up", min(TREE_KILLS, found.rounds))] * max(found.rounds // TREE_KILLS, 1)
            elif found.only:
                todo = [(found.only, 1)] * found.rounds
            else:
                todo = plan(found.rounds, drill.chance)
            for target, kills in todo:
                drill.play(target, kills)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    wrong = [made for made in drill.rounds if made.wrongs]
    print(f"{len(drill.rounds)} rounds in {time.monotonic() - began:.0f} s, {len(wrong)} went wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
