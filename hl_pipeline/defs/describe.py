"""How our tables, failures and times look in Dagster: column schemas, links, instants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from hl_pipeline.model.failure import PipelineError, TryAgain

OWNERS = ["team:data-platform"]
#: Groups, named so that they sort as the data flows.
UNIVERSE, CANDLES, HISTORY = "1_markets", "2_live_candles", "3_history"
TRUST, HEALTH = "4_confidence", "5_health"
#: Metadata of a check's result that says what to do about it.
NEXT_STEP = "next step"
KINDS = {"python", "postgres"}


#: Said of a column whose table refuses nulls in it.
NOT_NULL = "not null"


def columns(described: Mapping[str, tuple[str, ...]], *rules: str) -> dg.TableColumnSchemaMetadataValue | Any:
    """A column schema from ``{name: (type, what it holds, with its unit, *what the table holds it to)}``.

    ``rules`` are the table's own, over several columns: its key, order of prices.
    """
    return dg.MetadataValue.table_schema(
        dg.TableSchema(
            columns=[_column(name, *description) for name, description in described.items()],
            constraints=dg.TableConstraints(other=list(rules)) if rules else None,
        )
    )


def _column(name: str, kind: str, text: str, *rules: str) -> dg.TableColumn:
    held_to = dg.TableColumnConstraints(
        nullable=NOT_NULL not in rules, other=[rule for rule in rules if rule != NOT_NULL]
    )
    return dg.TableColumn(name, type=kind, description=text, constraints=held_to)


def table(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    """Rows of plain values as a table; a sentence when there is none."""
    if not rows:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def answers(*, fresh: str | None = None, whole: str | None = None, step: str) -> dict[str, str]:
    """What an asset's page is opened for, first in its metadata: is it fresh, is it whole, what is to do."""
    asked = {"fresh?": fresh, "whole?": whole, NEXT_STEP: step}
    return {question: untick(answer) for question, answer in asked.items() if answer is not None}


def untick(sentence: str) -> str:
    """Without the ticks around names: the metadata table shows text as it is."""
    return sentence.replace("`", "")


def instant(at_ms: int | None) -> dg.MetadataValue:
    """Milliseconds UTC as a timestamp the UI shows in the reader's zone; null stays null."""
    return dg.MetadataValue.null() if at_ms is None else dg.MetadataValue.timestamp(at_ms / 1000)


@contextmanager
def said_plainly() -> Iterator[None]:
    """Turn our own errors into a step failure whose text is the error's sentence.

    Nothing here retries: the source already did, and the next tick plans from
    the ledger again.
    """
    try:
        yield
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=isinstance(error, TryAgain)) from error
