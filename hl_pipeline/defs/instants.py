"""Instants as people write them into a run's configuration."""

from __future__ import annotations

from datetime import UTC, datetime

from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.interval import to_ms


def read_instant(name: str, text: str | None, default: int) -> int:
    """Milliseconds of the ISO 8601 instant or day ``text``, UTC unless it says otherwise; ``default`` when null.

    Raises:
        InvalidSetting: it cannot be read; ``name`` says which field it is.
    """
    if text is None:
        return default
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidSetting(
            f"{name} = {text!r} is not an instant: write ISO 8601, like 2026-01-10 or 2026-01-10T06:00:00Z"
        ) from error
    return to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))
