"""Log lines on standard error: for people, or one JSON object a line for a collector of logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from hl_pipeline.model.redact import redact_document

_FOR_PEOPLE = "%(asctime)s %(name)s: %(message)s"
#: What every record has; whatever else stands in one was given by the caller, as ``extra``.
_OF_ALL = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """``{"at", "level", "logger", "process", "message", ...}``: ``at`` in UTC to the millisecond, then what the caller
    gave as ``extra``, and ``traceback`` where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OF_ALL and name[0] != "_"}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        plain = json.loads(json.dumps(line, default=str))  # what is no text yet may hold a secret, too
        return json.dumps(redact_document(plain))


def log_to_stderr(level: int, *, as_json: bool) -> None:
    """All log lines of this process from ``level`` on go to standard error, and nowhere else."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter(_FOR_PEOPLE))
    logging.basicConfig(level=level, handlers=[handler], force=True)
