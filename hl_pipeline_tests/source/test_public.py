from __future__ import annotations

import socket
from typing import Any

import pytest

from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.source.public import NotPublic, is_public, public_addresses
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.source.retry import Patience
from hl_pipeline_tests.source.scripted import BudgetBook, FakeTime, ScriptedServer, answer

INSIDE = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",  # noqa: S104  # what must be refused
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "2002:7f00:1::",
    "2002:a00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2001:0:0:1::1",
    "no address",
    "",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_of_the_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def known_as(*addresses: str) -> Any:
    def resolve(_: str, port: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


def test_a_name_that_leads_outside_gives_its_addresses_once_each() -> None:
    assert public_addresses("api", 443, known_as("8.8.8.8", "1.1.1.1", "8.8.8.8")) == ["8.8.8.8", "1.1.1.1"]


def test_one_address_of_the_inside_among_others_is_one_too_many() -> None:
    with pytest.raises(NotPublic, match=r"api leads to 10\.0\.0\.5"):
        public_addresses("api", 443, known_as("8.8.8.8", "10.0.0.5"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_beyond_the_sandbox_a_host_that_leads_here_is_refused_before_any_connection(host: str) -> None:
    book, time = BudgetBook(), FakeTime()
    with ScriptedServer(answer()) as server:
        url = server.url.replace("127.0.0.1", host)
        with (
            HyperliquidRest(
                url,
                budget=book,
                public_only=True,
                patience=Patience(attempts=2),
                sleep=time.sleep,
                monotonic=time.monotonic,
            ) as client,
            pytest.raises(ExchangeUnavailable, match="no address of the public internet"),
        ):
            client.exchange_time_ms()
        assert server.connections == 0
    assert book.settled == [2, 2], "no row was served"


def test_a_name_that_nobody_knows_is_unreachable_and_no_crash() -> None:
    with (
        HyperliquidRest(
            "https://no-such-host.invalid", budget=BudgetBook(), public_only=True, patience=Patience(attempts=1)
        ) as client,
        pytest.raises(ExchangeUnavailable, match="cannot be reached"),
    ):
        client.exchange_time_ms()


def test_the_sandbox_may_be_on_loopback() -> None:
    with (
        ScriptedServer(answer(b'{"time":1785000000000}')) as server,
        HyperliquidRest(server.url, budget=BudgetBook()) as client,
    ):
        assert client.exchange_time_ms() == 1_785_000_000_000
