"""Sentry's own way of sending, but for redirects: a report goes to the host that HL_SENTRY_DSN names, or nowhere.

In a file of its own because most processes report nothing and need not load the library.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sentry_sdk.transport import HttpTransport


class StraightTransport(HttpTransport):
    """Follows no redirect: the library would send the event, and the key in its header, wherever an answer points."""

    def _make_pool(self) -> Any:
        pool = super()._make_pool()
        pool.urlopen = partial(pool.urlopen, redirect=False)  # type: ignore[method-assign]  # what each request calls
        return pool
