"""What a person asks about the whole store: open alerts, and the content as one hash a table."""

from __future__ import annotations

from typing import NamedTuple

from hl_pipeline.storage.engine import Connection
from hl_pipeline.storage.sql import query


class OpenAlert(NamedTuple):
    """An alert that nobody has resolved; times in ms UTC."""

    severity: str
    rule: str
    summary: str
    next_step: str
    times_seen: int
    first_seen_ms: int
    last_seen_ms: int


class TableContent(NamedTuple):
    """A relation's rows and the hash of what they say."""

    relation: str
    rows: int
    content: str


def open_alerts(connection: Connection) -> list[OpenAlert]:
    """The gravest and newest first."""
    return [OpenAlert(*row) for row in connection.execute(query("alerts_open"))]


def content_hashes(connection: Connection) -> list[TableContent]:
    """Candles, ledger, gaps and revisions as one hash each; equal content gives equal hashes in any database."""
    return [TableContent(*row) for row in connection.execute(query("content_hashes"))]
