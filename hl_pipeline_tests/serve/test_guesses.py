from __future__ import annotations

import asyncio
import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Message

from hl_pipeline.serve.guard import Guard, Rules
from hl_pipeline.serve.guesses import BURST, MOST_PEERS, SECONDS_A_GUESS, Guesses


class Now:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def guess(guesses: Guesses, count: int, peer: str = "192.0.2.1", start: int = 0) -> list[float | None]:
    return [guesses.wait(peer, f"Basic {start + number}", is_right=False) for number in range(count)]


def test_so_many_guesses_are_looked_at_and_then_none_not_even_a_right_one() -> None:
    now = Now()
    guesses = Guesses(now)
    assert guess(guesses, BURST) == [None] * BURST
    assert guesses.wait("192.0.2.1", "Basic right", is_right=True) == SECONDS_A_GUESS
    now.at += SECONDS_A_GUESS
    assert guesses.wait("192.0.2.1", "Basic right", is_right=True) is None
    assert guesses.wait("192.0.2.1", "Basic right", is_right=True) is None, "the right one costs nothing"


def test_others_are_not_held_up() -> None:
    guesses = Guesses(Now())
    guess(guesses, BURST + 1)
    assert guesses.wait("192.0.2.2", "Basic right", is_right=True) is None


def test_the_same_wrong_password_of_a_forgotten_page_is_one_guess() -> None:
    guesses = Guesses(Now())
    assert [guesses.wait("192.0.2.1", "Basic old", is_right=False) for _ in range(1000)] == [None] * 1000
    assert guesses.wait("192.0.2.1", "Basic right", is_right=True) is None


def test_a_customer_of_a_provider_is_one_peer_however_many_addresses_he_has() -> None:
    guesses = Guesses(Now())
    for number in range(BURST):
        guess(guesses, 1, f"2001:db8:0:7::{number:x}", number)
    assert guesses.wait("2001:db8:0:7:ffff::1", "Basic right", is_right=True) is not None
    assert guesses.wait("2001:db8:0:8::1", "Basic right", is_right=True) is None


@given(st.integers(1, 200), st.floats(0, 100))
def test_no_more_guesses_are_looked_at_than_the_time_allows(tries: int, seconds: float) -> None:
    now = Now()
    guesses = Guesses(now)
    looked_at = 0
    for number in range(tries):
        now.at = 100.0 + seconds * number / tries
        looked_at += guess(guesses, 1, start=number) == [None]
    assert looked_at <= BURST + seconds / SECONDS_A_GUESS + 1e-9


def test_memory_is_bounded() -> None:
    guesses = Guesses(Now())
    for number in range(2 * MOST_PEERS):
        guess(guesses, 1, f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    guess(guesses, 10 * BURST, "192.0.2.1")
    assert len(guesses._peers) <= MOST_PEERS
    assert all(len(peer.wrong) <= BURST for peer in guesses._peers.values())


def asked(guard: Guard, password: str, peer: str = "192.0.2.1") -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of one request to a guard, without a server."""
    token = base64.b64encode(f"hl:{password}".encode())
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"here:1"), (b"authorization", b"Basic " + token)],
        "client": (peer, 1),
    }
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        said.append(message)

    asyncio.run(guard(scope, receive, send))
    return said[0]["status"], dict(said[0]["headers"])


async def health() -> tuple[int, dict[str, Any], dict[str, Any]]:
    return 200, {}, {}


def test_the_guard_says_when_to_come_back_and_answers_others() -> None:
    rules = Rules(frozenset({"here:1"}), password="correct horse battery")  # noqa: S106
    guard = Guard(PlainTextResponse("inside"), rules, health)
    assert [asked(guard, f"wrong {number}")[0] for number in range(BURST)] == [401] * BURST
    status, headers = asked(guard, "correct horse battery")
    assert (status, headers[b"retry-after"]) == (429, b"3")
    assert asked(guard, "correct horse battery", "192.0.2.2")[0] == 200
