"""Failures reported to Sentry, or to what speaks its protocol: one event a failure, where HL_SENTRY_DSN names one.

Nothing is captured by itself: the library's integrations are off, so that a failure is reported once, by whoever
knows what it is. An event holds the exception, where it arose and a few tags; no local variables, no source lines, no
request, no host name, and no secret. It goes where the DSN says and follows no redirect, and is sent before
`ErrorReports.report` returns, so nothing is left to flush.
"""

from __future__ import annotations

import contextlib
import platform
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hl_pipeline.model.failure import NeedsAPerson, PipelineError, TryAgain
from hl_pipeline.model.redact import hide, redact, redact_document

#: How long a report may hold up the process that makes it, in seconds.
PATIENCE_S = 2.0
#: What a stop must not cut off.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_REPORTED = "_hl_reported"
_LONGEST_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Told:
    """An exception that another process met, as it told of it. ``frames`` are (file, line, function), outermost first.

    ``text`` is what it said, without its class; ``on_purpose`` that we raised it ourselves, though it is none of
    `model.failure`.
    """

    kind: str
    text: str
    frames: Sequence[tuple[str, int, str]] = ()
    on_purpose: bool = False


class ErrorReports:
    """Reports to the project that ``dsn`` names. ``environment`` is the venue."""

    def __init__(self, dsn: str, *, release: str, environment: str, patience_s: float = PATIENCE_S) -> None:
        import sentry_sdk  # here, because most processes report nothing
        from sentry_sdk.utils import exceptions_from_error_tuple

        from hl_pipeline.notify.straight import StraightTransport

        hide(dsn)
        self._patience_s = patience_s
        self._exceptions_from = exceptions_from_error_tuple
        self._client = sentry_sdk.Client(
            dsn=dsn,
            transport=StraightTransport,
            release=release,
            environment=environment,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            max_request_body_size="never",
            max_breadcrumbs=0,
            max_value_length=_LONGEST_TEXT,
            server_name="",
            send_client_reports=False,
            auto_session_tracking=False,
            in_app_include=["hl_pipeline"],
            http_proxy="",  # nobody's environment says where our errors go
            https_proxy="",
            spotlight=False,
            debug=False,
            shutdown_timeout=patience_s,
            before_send=_clean,
        )

    def report(self, error: BaseException, *, where: str, tags: Mapping[str, str] | None = None) -> bool:
        """Report an exception that ended something; false when it, or what it came from, was reported already.

        ``where`` names what failed: ``hl collect``, ``stream``. Never raises for what the other side does.
        """
        chain = list(_chain(error))
        if any(getattr(link, _REPORTED, False) for link in chain):
            return False
        with contextlib.suppress(AttributeError):  # one with slots is reported twice at worst
            setattr(error, _REPORTED, True)
        typed = next((type(link) for link in chain if isinstance(link, PipelineError)), None)
        values = self._exceptions_from((type(error), error, error.__traceback__), self._client.options)
        self._send(_event(where, typed, values, tags or {}))
        return True

    def report_told(
        self, chain: Sequence[Told], *, where: str, number: str, tags: Mapping[str, str] | None = None
    ) -> None:
        """Report what another process told of its failure, the outermost exception first.

        ``number`` identifies the failure (a run's id): the same number is the same event, reported how often so ever.
        """
        typed = next((kind for told in chain if (kind := _typed(told.kind)) is not None), None)
        event = _event(where, typed, [_value(told) for told in reversed(chain)], tags or {})
        if typed is None and chain[0].on_purpose:
            event |= {"level": "error", "fingerprint": [where, chain[0].kind]}
        self._send({**event, "event_id": uuid.uuid5(uuid.NAMESPACE_OID, f"hl_pipeline {number}").hex})

    def close(self) -> None:
        """Ends the sender's thread."""
        self._client.close(timeout=self._patience_s)

    def _send(self, event: dict[str, Any]) -> None:
        with _uninterrupted():
            self._client.capture_event(_clean(event, None))  # before the library cuts texts, and again after
            self._client.flush(timeout=self._patience_s)


def _event(
    where: str, typed: type[PipelineError] | None, values: list[dict[str, Any]], tags: Mapping[str, str]
) -> dict[str, Any]:
    """What our own errors are is known: whoever must act on them groups and sorts them by it, not by the text."""
    if typed is None:
        level, group = "fatal", ["{{ default }}", where]
    else:
        level, group = "warning" if issubclass(typed, TryAgain) else "error", [where, typed.__name__]
    action = "none" if typed is None else "needs_a_person" if issubclass(typed, NeedsAPerson) else "try_again"
    return {
        "level": level,
        "fingerprint": group,
        "transaction": where,
        "exception": {"values": values},
        "tags": {"where": where, "action": action, "python": platform.python_version(), **tags},
    }


def _value(told: Told) -> dict[str, Any]:
    frames = [
        {"filename": file, "lineno": line, "function": function, "in_app": "hl_pipeline" in file}
        for file, line, function in told.frames
    ]
    return {
        "type": told.kind,
        "value": told.text,
        **({"stacktrace": {"frames": frames}} if frames else {}),
    }


def _typed(name: str) -> type[PipelineError] | None:
    """Our error of this name; null for any other."""
    waiting: list[type[PipelineError]] = [PipelineError]
    while waiting:
        kind = waiting.pop()
        if kind.__name__ == name.rpartition(".")[2]:
            return kind
        waiting += kind.__subclasses__()
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        yield link
        seen.append(link)
        link = link.__cause__ or link.__context__


def _clean(event: Any, _hint: Any) -> Any:
    """The last look before it leaves: no secret, no name of this machine, no list of what is installed."""
    kept = {
        name: value for name, value in event.items() if name not in {"server_name", "modules", "breadcrumbs", "extra"}
    }
    for value in kept.get("exception", {}).get("values", []):
        value["value"] = redact(str(value.get("value")))  # before it is cut
        for frame in (value.get("stacktrace") or {}).get("frames", []):
            frame.pop("vars", None)
            frame.pop("abs_path", None)
    return redact_document(kept)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A signal that would end the process waits until the block is over; for the seconds of one report."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    kept = {number: signal.signal(number, lambda number, _frame: heard.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for ending, handler in kept.items():
            signal.signal(ending, signal.SIG_DFL if handler is None else handler)  # null: one not set by Python
        for late in heard:
            signal.raise_signal(late)
