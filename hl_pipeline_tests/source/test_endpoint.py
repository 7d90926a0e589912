from __future__ import annotations

import pytest

from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.source.endpoint import info_url


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://api.hyperliquid.xyz", "https://api.hyperliquid.xyz/info"),
        ("https://api.hyperliquid.xyz/", "https://api.hyperliquid.xyz/info"),
        ("https://api.hyperliquid.xyz/info", "https://api.hyperliquid.xyz/info"),
        ("http://127.0.0.1:3001", "http://127.0.0.1:3001/info"),
        ("http://[::1]:3001", "http://[::1]:3001/info"),
    ],
)
def test_the_info_service_is_found_behind_an_endpoint(endpoint: str, url: str) -> None:
    assert info_url(endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "api.hyperliquid.xyz",
        "file:///etc/passwd",
        "ftp://host",
        "https://",
        "https://user:hunter2@host",
        "https://host?key=hunter2",
        "https://host#x",
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://host:99999",
        "http://[::1",
    ],
)
def test_addresses_no_exchange_has_are_refused_without_repeating_a_secret(endpoint: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        info_url(endpoint)
    assert "hunter2" not in str(refusal.value)
