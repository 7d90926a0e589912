"""Takes the pictures of docs/ui.md again, from a running `hl demo`: ``make pictures``.

Start the demo first, in a home of its own and in a terminal: ``HL_HOME=/tmp/pictures make demo``. When its interface
is up, this makes a little trouble on its exchange (three minutes of BTC are published late, the live stream falls
silent), waits until a check says so, launches a back-fill, and photographs. Chromium is needed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.browser import Page, browser
from benchmarks.palette_png import in_few_colours
from hl_pipeline.cli.demo.switchboard import Switchboard

WIDTH = 1400
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
MOST_BYTES = 200_000
_MINUTE_MS = 60_000
_CHECK = "stream_alive"
#: How long trouble and back-fill may take to show.
_PATIENCE_SECONDS = 420
_TRIES = 6
#: A page of checks says so while a run judges them.
_UNDER_WAY = "/In Progress/.test(document.body.innerText)"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the interface is, the browser's page, and which pictures are wanted (all, if none is named)."""

    page: Page
    url: str
    only: tuple[str, ...] = ()

    def ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        """GraphQL, as the interface's own pages ask it."""
        body = json.dumps({"query": query, "variables": variables or {}})
        script = (
            "fetch('/graphql', {method: 'POST', headers: {'content-type': 'application/json'}, "
            f"body: {json.dumps(body)}}}).then(answer => answer.json())"
        )
        answer = self.page.tell(script)
        if "errors" in answer:
            raise RuntimeError(str(answer["errors"]))
        return dict(answer["data"])

    def wait(self, what: str, is_so: Callable[[], bool]) -> None:
        """Ask every few seconds until it is so."""
        click.echo(f"waiting until {what}")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                raise click.ClickException(f"{what}: not within {_PATIENCE_SECONDS} s")
            time.sleep(5)

    def is_busy(self) -> bool:
        """Whether a run is under way."""
        query = """{ runsOrError(limit: 1, filter: {statuses: [QUEUED, STARTING, STARTED]}) {
        ... on Runs { results { runId } } } }"""
        return bool(self.ask(query)["runsOrError"]["results"])

    def take(
        self,
        name: str,
        path: str,
        *,
        height: int = 900,
        shows: str,
        collapse: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Photograph the page at ``path`` once it says ``shows``; ``collapse`` names sections and a word in each."""
        if self.only and name not in self.only:
            return
        self.page.resize(height)
        for _ in range(_TRIES):
            self.page.open(self.url + path)
            self.page.until_text(shows)
            for section, inside in collapse:
                self.page.tell(_collapse(section, inside))
            self.page.calm()
            if not self.page.tell(_UNDER_WAY):
                break
        picture = in_few_colours(self.page, self.page.picture())
        if len(picture) > MOST_BYTES:
            raise click.ClickException(f"{name} has {len(picture):,} bytes, at most {MOST_BYTES:,} are taken")
        (FOLDER / f"{name}.png").write_bytes(picture)
        click.echo(f"{name}.png: {len(picture):,} bytes")


@click.command()
@click.option("--url", default="http://127.0.0.1:3000", show_default=True, help="The demo's web interface.")
@click.option("--exchange", default="http://127.0.0.1:4010", show_default=True, help="The demo's exchange.")
@click.option("--no-trouble", is_flag=True, help="The demo's troubles and back-fill are there already.")
@click.option("--only", multiple=True, help="Take only this picture; may be given again.")
def main(url: str, exchange: str, no_trouble: bool, only: tuple[str, ...]) -> None:
    """Take every picture of docs/ui.md."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with browser(WIDTH) as page:
        desk = Desk(page, url, only)
        page.open(url + "/runs")
        if not no_trouble:
            make_trouble(desk, Switchboard(exchange))
        desk.take("status-report", "/report", height=1900, shows="What needs you")
        page.open(url + "/runs")
        with nothing_starting(desk):
            take_all(desk)


def make_trouble(desk: Desk, exchange: Switchboard) -> None:
    """Late minutes of one market, a silent stream; and a back-fill that is over."""
    started = launch_backfill(desk)
    now_ms = int(time.time() * 1000) // _MINUTE_MS * _MINUTE_MS
    late = [now_ms + minute * _MINUTE_MS for minute in (1, 2, 3)]
    exchange.add_faults(
        {"kind": "late", "coin": "BTC", "interval": "1m", "opens_ms": late},
        {"kind": "ws_drop"},
        {"kind": "ws_refuse"},
    )
    desk.wait("the back-fill is over", lambda: backfill_status(desk, started) not in {"REQUESTED", "BLOCKED"})
    desk.wait("the check fails", lambda: check_failed(desk))
    desk.wait("the late minutes are missed", lambda: time.time() * 1000 > late[-1] + 5 * _MINUTE_MS)


def launch_backfill(desk: Desk) -> str:
    """Three months of two markets, as the interface's own dialogue would launch it; its id."""
    months = ["2026-09-01", "2026-10-01", "2026-11-01"]
    done = desk.ask(
        """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
        {
            "p": {
                "partitionNames": [f"{coin}|{month}" for coin in ("BTC", "ETH") for month in months],
                "assetSelection": [{"path": ["candles_1h"]}, {"path": ["candles_4h"]}],
                "tags": [],
                "title": "Hourly candles of the last three months",
            }
        },
    )["launchPartitionBackfill"]
    if "backfillId" not in done:
        raise click.ClickException(str(done))
    return str(done["backfillId"])


def backfill_status(desk: Desk, number: str) -> str:
    """As Dagster calls it."""
    query = "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
    return str(desk.ask(query, {"id": number})["partitionBackfillOrError"].get("status"))


def newest_backfill(desk: Desk) -> str:
    """Its id."""
    found = desk.ask("{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id } } } }")
    return str(found["partitionBackfillsOrError"]["results"][0]["id"])


def newest_run(desk: Desk, job: str) -> str:
    """The id of the newest successful run of a job."""
    query = """query($job: String!) { runsOrError(limit: 1, filter: {pipelineName: $job, statuses: [SUCCESS]}) {
    ... on Runs { results { runId } } } }"""
    return str(desk.ask(query, {"job": job})["runsOrError"]["results"][0]["runId"])


def check_failed(desk: Desk) -> bool:
    """Whether the stream's check is seen to fail."""
    query = """{ assetNodes(assetKeys: [{path: ["live_candles"]}]) { assetChecksOrError { ... on AssetChecks {
    checks { name executionForLatestMaterialization { status } } } } } }"""
    (node,) = desk.ask(query)["assetNodes"]
    return any(
        check["name"] == _CHECK and (check["executionForLatestMaterialization"] or {}).get("status") == "FAILED"
        for check in node["assetChecksOrError"]["checks"]
    )


@contextmanager
def nothing_starting(desk: Desk) -> Iterator[None]:
    """No schedule starts a run within the block, and none is under way: checks show what they found."""
    query = """{ schedulesOrError(repositorySelector: {repositoryLocationName: "hl_pipeline",
    repositoryName: "__repository__"}) { ... on Schedules { results { name scheduleState { id status } } } } }"""
    found = desk.ask(query)["schedulesOrError"]["results"]
    running = [one for one in found if one["scheduleState"]["status"] == "RUNNING"]
    for one in running:
        stop = "mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }"
        desk.ask(stop, {"id": one["scheduleState"]["id"]})
    try:
        desk.wait("no run is under way", lambda: not desk.is_busy())
        yield
    finally:
        desk.page.open(desk.url + "/runs")
        for one in running:
            start = "mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }"
            place = {"repositoryLocationName": "hl_pipeline", "repositoryName": "__repository__"}
            desk.ask(start, {"s": {**place, "scheduleName": one["name"]}})


def take_all(desk: Desk) -> None:
    """A picture for each page that docs/ui.md walks through."""
    run, backfill = newest_run(desk, "collect"), newest_backfill(desk)
    desk.take("asset-graph", "/asset-groups", height=1000, shows="4_confidence")
    desk.take(
        "candle-asset",
        "/assets/live_candles?view=overview",
        height=1900,
        shows="fresh?",
        collapse=(("Columns", "Column name"),),
    )
    desk.take("failed-check", f"/assets/live_candles?view=checks&checkDetail={_CHECK}", shows="Evaluation result")
    desk.take("run-timeline", f"/runs/{run}", shows="live_candles")
    desk.take("back-fill", f"/runs/b/{backfill}", height=520, shows="candles_1h")


def _collapse(section: str, inside: str) -> str:
    """Fold a section of an asset's page away, unless it is: the interface remembers, and a click would open it."""
    return (
        f"(() => {{ if (!document.body.innerText.includes({json.dumps(inside)})) return false; "
        "const head = [...document.querySelectorAll('*')].find(e => e.children.length === 0 && "
        f"e.innerText === {json.dumps(section)}); if (head) head.click(); return !!head }})()"
    )


if __name__ == "__main__":
    main()
