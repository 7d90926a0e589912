"""Finds and reads the project's SQL files.

In a checkout they stand in ``sql/`` beside the package; a wheel carries them as ``hl_pipeline/_sql``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import LiteralString

_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def folder() -> Path:
    """The folder that holds ``migrations``, ``repeatable`` and ``queries``.

    Raises FileNotFoundError when the installation is incomplete.
    """
    for candidate in (_PACKAGE.parent / "sql", _PACKAGE / "_sql"):
        if (candidate / "migrations").is_dir():
            return candidate
    raise FileNotFoundError(f"no sql folder beside or inside {_PACKAGE}; install the package again")


@cache
def query(name: str) -> LiteralString:
    """The one statement of ``sql/queries/NAME.sql``, with psycopg ``%(name)s`` placeholders.

    The text is a literal in all but location: it ships with the code and is never built from values.
    Raises FileNotFoundError for a name that is not there.
    """
    return (folder() / "queries" / f"{name}.sql").read_text(encoding="utf-8")
