"""Which address we are willing to ask, and what of it may be shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from hl_pipeline.model.failure import InvalidSetting


def info_url(endpoint: str) -> str:
    """The address of the info service behind ``endpoint``; the path ``/info`` is added when there is none.

    Raises:
        InvalidSetting: not http(s), no host, a user or password in it, a query, or a link-local address (where
            cloud machines keep their secrets).
    """
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidSetting(f"an endpoint is not an address: {error}; write https://host") from error
    shown = f"{parts.scheme}://{host}"
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidSetting(f"endpoint {shown!r} is not http or https with a host; write https://host")
    if parts.username is not None or parts.password is not None:
        raise InvalidSetting(f"endpoint {shown!r} carries a user or password; the info service takes none")
    if parts.query or parts.fragment:
        raise InvalidSetting(f"endpoint {shown!r} carries a query or fragment; leave it off")
    if _is_link_local(host):
        raise InvalidSetting(f"endpoint {shown!r} is a link-local address, which no exchange has")
    netloc = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/") or "/info"
    return f"{parts.scheme}://{netloc}{f':{port}' if port else ''}{path}"


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False
