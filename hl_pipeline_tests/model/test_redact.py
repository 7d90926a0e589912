from __future__ import annotations

import base64
import html
import json
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model import redact as process
from hl_pipeline.model.redact import MASK, Redactor, hide, hide_variables, redact, redact_document, secrets_of

SECRETS = st.text(
    alphabet=string.ascii_letters + string.digits + " /+%&\"'\\@:é\N{GREEK SMALL LETTER OMEGA}", min_size=12
)


def in_all_forms(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret.islower() else secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        repr(secret),
        html.escape(secret),
        raw.hex(),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        quote(base64.b64encode(raw).decode(), safe=""),
        base64.b64encode(b"user:" + raw + b"@tail").decode(),
        base64.b64encode(b"a:" + raw).decode(),
        base64.b64encode(b"abc:" + raw + b"x").decode(),
    ]


@given(secret=SECRETS, before=st.text(max_size=5), after=st.text(max_size=5))
def test_a_secret_is_found_in_every_form_in_the_middle_of_any_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for form in in_all_forms(secret):
        assert form not in redactor(f"{before}{form}{after}").replace(MASK, "\0")
        assert MASK in redactor(f"{before}{form}{after}")


@given(secret=SECRETS, prefix=st.binary(max_size=7), suffix=st.binary(max_size=7))
def test_nothing_of_a_secret_can_be_read_out_of_base64_around_it(secret: str, prefix: bytes, suffix: bytes) -> None:
    written = base64.b64encode(prefix + secret.encode() + suffix).decode()
    left = Redactor([secret])(written)
    head, mask, _ = left.partition(MASK)
    assert mask
    assert len(head) <= -(-8 * len(prefix) // 6), "before it stands what holds the prefix, and bits of one letter"


@given(st.text(), st.lists(SECRETS, max_size=3))
def test_twice_is_as_good_as_once(text: str, secrets: list[str]) -> None:
    redactor = Redactor(secrets)
    assert redactor(redactor(text)) == redactor(text)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("postgresql://hl:pa55@db/hl failed", "postgresql://***@db/hl failed"),
        ("postgresql://hl:p@55@db/hl failed", "postgresql://***@db/hl failed"),
        ("https://0123abc@sentry.example.com/3", "https://***@sentry.example.com/3"),
        ("connect host=db password=pa55 user=hl", "connect host=db password=*** user=hl"),
        ("PGPASSWORD='pa55' psql", "PGPASSWORD='***' psql"),
        ("GET /hook?token=abc&x=1", "GET /hook?token=***&x=1"),
        ('{"password": "pa55", "user": "hl"}', '{"password": "***", "user": "hl"}'),
        (r'"{\"api_key\": \"pa55\"}"', r'"{\"api_key\": \"***\"}"'),
        ("Authorization: Basic aGw6cGE1NQ==", "Authorization: Basic ***"),
        ("https://hooks.slack.com/services/T1/B2/x3", "https://hooks.slack.com/services/***"),
        ("https://discord.com/api/webhooks/1/x", "https://discord.com/api/webhooks/***"),
        ("https://api.telegram.org/bot12:ab/sendMessage", "https://api.telegram.org/bot***"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_though_nobody_named_it(said: str, left: str) -> None:
    assert Redactor()(said) == left


@pytest.mark.parametrize(
    "said",
    [
        "BTC 1m: 3 slots lost between 2026-01-10 12:00 and 2026-01-10 12:03 UTC",
        "HL_UI_PASSWORD: needs at least 12 printable characters (openssl rand -base64 24); correct it",
        "the password is missing or wrong",
        "127.0.0.1:5432/hl cannot be reached: connection refused",
        "read hl.market_history; a@b.example wrote https://example.com/a?b=c to me@example.com",
        "GraphQL is asked by a JSON POST; Basic authentication is used",
        "design = 3, tokens: 12",
        "write it like postgresql://user:password@host:port/name or https://KEY@sentry.example.com/3",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(said: str) -> None:
    assert Redactor(["canary-canary"])(said) == said


def test_a_short_secret_is_found_as_a_word_alone_and_a_tiny_one_not_at_all() -> None:
    redactor = Redactor(["p0stgres", "hl"])
    assert redactor("p0stgresql says: no 'p0stgres', hl") == "p0stgresql says: no '***', hl"


@pytest.mark.parametrize("word", ["dagster", "nothing", "Postgres"])
def test_a_password_that_is_a_word_spoils_no_text_and_is_hidden_where_it_is_given_as_one(word: str) -> None:
    redactor = Redactor([word])
    assert redactor(f"{word} was dropped by {word}_event") == f"{word} was dropped by {word}_event"
    assert word not in redactor(f"postgresql://u:{word}@h/db password={word} PGPASSWORD='{word}'")


def test_the_secrets_of_an_address_are_its_password_tokens_and_keys() -> None:
    assert {"p@ss", "p%40ss"} <= secrets_of("postgresql://hl:p%40ss@db.example.com/hl_candles?sslmode=verify-full")
    assert not {"hl", "hl_candles", "verify-full"} & secrets_of("postgresql://hl:p%40ss@db/hl_candles?sslmode=x")
    assert "tok3nAbc" in secrets_of("error=json://example.com/hooks/tok3nAbc?format=markdown")
    assert not {"hooks", "markdown", "example.com"} & secrets_of("json://example.com/hooks/tok3nAbc?format=markdown")
    assert {"T1JJ3T3L2", "TIiajkdnlazkcOXrIdevi7FQ"} <= secrets_of(
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    )
    assert "0123abcdef" in secrets_of("https://0123abcdef@sentry.example.com/3")
    assert secrets_of("file:///var/log/alerts.jsonl") == set()
    assert secrets_of("a plain password") == {"a plain password"}
    assert secrets_of("http://[broken") == {"http://[broken"}


def test_the_process_hides_what_it_was_told_and_what_its_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PROCESS", process._Process())
    hide("told-canary-told")
    hide_variables(
        {
            "HL_UI_PASSWORD": "variable-canary",
            "HL_ALERT_URLS": "not even an address-1 critical=json://h.example/canary3tok3n",
            "HL_DATABASE_URL": "postgresql://hl:dbcanary-99@h/hl",
            "HL_SENTRY_DSN": "https://sentrycanary1@h/1",
            "HL_VENUE": "live-and-well-known",
        }
    )
    assert redact("told-canary-told variable-canary canary3tok3n dbcanary-99 sentrycanary1") == " ".join([MASK] * 5)
    assert redact("live-and-well-known") == "live-and-well-known"
    document = {"told-canary-told": ["variable-canary", 3, None, ("x", {"a": "dbcanary-99"})]}
    assert redact_document(document) == {MASK: [MASK, 3, None, ["x", {"a": MASK}]]}
