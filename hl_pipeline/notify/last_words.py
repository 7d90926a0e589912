"""What a process says without being asked, free of secrets: its log lines, and the traceback it dies with.

For the boundaries nobody passes on purpose. Tables, alerts and error reports have the same redaction where they are
written; `model.redact` is all there is of it.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

from hl_pipeline.model.redact import redact

#: Told of an exception that nobody caught, after it was printed.
OnCrash = Callable[[BaseException], None]


class CleanRecord(logging.LogRecord):
    """A log record whose texts hold no secret, whoever formats it, and whatever a handler puts into it on its way."""

    def getMessage(self) -> str:  # noqa: N802  # the standard library's name
        """The message with its arguments, redacted."""
        return redact(super().getMessage())

    @property
    def exc_text(self) -> str | None:
        """The traceback as text: formatters keep it here, and print what they find here."""
        return self.__dict__.get("_exc_text")

    @exc_text.setter
    def exc_text(self, text: str | None) -> None:
        self.__dict__["_exc_text"] = text and redact(text)

    @property
    def stack_info(self) -> str | None:
        """The stack as text, which may quote source."""
        return self.__dict__.get("_stack_info")

    @stack_info.setter
    def stack_info(self, text: str | None) -> None:
        self.__dict__["_stack_info"] = text and redact(text)


def guard_logs() -> None:
    """Every log record of this process, of whichever library, is clean from now on."""
    logging.setLogRecordFactory(CleanRecord)


def guard_process(on_crash: OnCrash | None = None) -> None:
    """The same of logs, and of what is printed when the process, or one of its threads, dies of an exception.

    A hook that somebody else has set stays.
    """
    guard_logs()

    def crashed(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, where))))
        if on_crash is not None and issubclass(kind, Exception):
            on_crash(error)

    def thread_crashed(found: threading.ExceptHookArgs) -> None:
        if found.exc_type is SystemExit:
            return
        name = found.thread.name if found.thread is not None else "a thread"
        error = found.exc_value if found.exc_value is not None else found.exc_type()
        sys.stderr.write(f"Exception in thread {name}:\n")
        crashed(found.exc_type, error, found.exc_traceback)

    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = crashed
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = thread_crashed
