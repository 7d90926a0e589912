"""Dagster's records without secrets: what it writes of errors goes through the redaction on its way into the storage.

An exception's text and its whole chain of causes become events, ticks and heartbeats, which Dagster keeps and shows.
Steps raise clean errors, but a driver, Dagster itself or a check's own code may say anything. So the door to the
storage is where it is taken out, for every process that has an instance. What a run was asked to do is left alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import deserialize_value, serialize_value

from hl_pipeline.model.redact import redact

#: The methods that keep something said, by storage; each takes it as its first argument.
_DOORS = {
    "event_log_storage": ("store_event", "store_event_batch"),
    "run_storage": ("add_backfill", "update_backfill", "add_daemon_heartbeat"),
    "schedule_storage": ("create_tick", "update_tick"),
}


def keep_clean(storage: DagsterStorage) -> DagsterStorage:
    """The same storage, which takes secrets out of the records it is given from now on."""
    for room, doors in _DOORS.items():
        store = getattr(storage, room)
        for door in doors:
            setattr(store, door, _cleaning(getattr(store, door)))
    return storage


def _cleaning(keep: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(keep)
    def kept(said: Any, *rest: Any, **more: Any) -> Any:
        is_batch = isinstance(said, list | tuple) and not hasattr(said, "_fields")  # a record may be a named tuple
        return keep([cleaned(item) for item in said] if is_batch else cleaned(said), *rest, **more)

    return kept


def _texts_cleaned(said: Any) -> Any:
    """What is said, redacted; without the names of fields and classes Dagster could not read it again."""
    if isinstance(said, dict):
        return {name: item if name.startswith("__") else _texts_cleaned(item) for name, item in said.items()}
    if isinstance(said, list):
        return [_texts_cleaned(item) for item in said]
    return redact(said) if isinstance(said, str) else said


def cleaned(record: Any) -> Any:
    """One of Dagster's records without secrets; itself when it has none, which is nearly always."""
    said = json.loads(serialize_value(record))
    clean = _texts_cleaned(said)
    return record if clean == said else deserialize_value(json.dumps(clean), type(record))
