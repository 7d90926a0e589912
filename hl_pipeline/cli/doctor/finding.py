"""What the doctor found, one line each."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from hl_pipeline.model.failure import PipelineError


class Level(StrEnum):
    """``ok``; ``warn``: it works, and may not for long; ``fail``: it does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """One line: what was looked at, how it stands, what was found, what to do; ``step`` is empty when all is well."""

    name: str
    level: Level
    text: str
    step: str = ""


def ok(name: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(name, Level.OK, text)


def warn(name: str, text: str, step: str) -> Finding:
    """It works, and may not for long."""
    return Finding(name, Level.WARN, text, step)


def fail(name: str, text: str, step: str) -> Finding:
    """It does not work."""
    return Finding(name, Level.FAIL, text, step)


def looked(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """What ``look`` finds; that it could not look is a finding, too, and hides none of the others."""
    try:
        return look()
    except PipelineError as error:
        return [fail(name, str(error), "what the line says")]
    except Exception as error:  # a doctor that falls ill helps nobody; the line names the error  # noqa: BLE001
        return [fail(name, f"could not be looked at: {type(error).__name__}: {error}", "report it with this line")]
