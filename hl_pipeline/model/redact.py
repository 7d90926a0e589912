"""No secret leaves: one function takes them out of texts that go to a log, a table, a person or another service.

`Redactor` is pure: it knows values, and shapes that hold secrets in general. The process keeps one, `redact`; whoever
reads a secret calls `hide` with it first: settings with their variables, a database with its password.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

MASK = "***"
#: What is shorter is no secret but a word; to take it out would only harm the text.
SHORTEST = 4
#: Shorter secrets are found as whole words alone: the password "postgres" must not spoil every ``postgresql://``.
_SHORTEST_ANYWHERE = 12
#: A shorter one of letters alone is a word, found only where its place tells that it is a secret (``password=…``): the
#: password "dagster" or "nothing" is guessed sooner than read, and to take it out would spoil every text and record.
_ONLY_LETTERS = re.compile(r"[A-Za-z]+")
#: Parts of an address below this length, and lower-case words up to the other, are no tokens.
_SHORTEST_PART, _LONGEST_WORD = 6, 16
_WORD = re.compile(r"[a-z._-]+")
_NAMES = r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|sig(?:nature)?"
_IS_SECRET_NAME = re.compile(rf"(?i:{_NAMES}|key|code|auth)")
_SLACK, _DISCORD = r"hooks\.slack\.com/[a-z]{1,20}/", r"discord(?:app)?\.com/api/webhooks/"
_HINTS = ("pass", "pwd", "secret", "token", "apikey", "api_key", "api-key", "access", "private", "sig", "authorization")
#: Shapes that hold a secret, whoever's it is, each behind the words (in lower case) without which it is not looked for.
#: What the first group has of it stays. Repeats are bounded, so that time is linear.
_SHAPES = tuple(
    (hints, re.compile(shape))
    for hints, shape in (
        # user:password@ of any URL, and the bare key of a Sentry DSN; but not our own words for how to write one
        (("://",), r"(://)(?!user:password@|KEY@)[^\s/?#'\"<>\\]{1,512}(?=@)"),
        # password=x, PGPASSWORD=x, ?token=x, api_key = 'x'
        (_HINTS, rf"(?i)((?:{_NAMES})\s{{0,3}}=\s{{0,3}}['\"]?)[^\s'\"&,;<>)\]}}\\]{{1,512}}"),
        # "password": "x", 'token': 'x'
        (_HINTS, rf"(?i)((?:{_NAMES}|authorization)\\?['\"]\s{{0,3}}:\s{{0,3}}\\?['\"])[^'\"\\]{{1,512}}"),
        # Authorization: Basic x
        (
            ("basic ", "bearer "),
            r"(?i)(\b(?:basic|bearer)\s{1,3})(?=[a-z+/_.~-]{0,512}[0-9=+/])[a-z0-9+/=_.~-]{8,2048}",
        ),
        # where the address itself is the key
        (("slack", "discord", "telegram"), rf"({_SLACK}|{_DISCORD}|api\.telegram\.org/bot)[^\s'\"<>\\]{{1,512}}"),
    )
)
#: Names of variables whose values are secrets.
_SECRET_VARIABLE = re.compile(r"HL_\w*(?:PASSWORD|_URLS?|_DSN|TOKEN|SECRET|KEY)|DAGSTER_STORAGE_URL|PGPASSWORD")


class Redactor:
    """Puts ``***`` in the place of every one of ``secrets``, and of what looks like one (``password=…``, ``user:…@``).

    A secret is found as written, percent-encoded, escaped as JSON, Python and HTML do, in hexadecimal and in base64,
    also in the middle of a longer base64 text. What is shorter than `SHORTEST`, or no more than a word, is not looked
    for.
    """

    __slots__ = ("_anywhere", "_words", "secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.secrets = frozenset(secret for secret in secrets if len(secret) >= SHORTEST)
        forms = {form for secret in self.secrets if not _is_word(secret) for form in _forms(secret)}
        long = {form for form in forms if len(form) >= _SHORTEST_ANYWHERE}
        self._anywhere = tuple(sorted(long, key=len, reverse=True))
        words = "|".join(map(re.escape, sorted(forms - long, key=len, reverse=True)))
        self._words = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if words else None

    def __call__(self, text: str) -> str:
        """The text without secrets; twice is as good as once."""
        for form in self._anywhere:
            if form in text:
                text = text.replace(form, MASK)
        if self._words is not None:
            text = self._words.sub(MASK, text)
        lowered = text.lower()
        for hints, shape in _SHAPES:
            if any(hint in lowered for hint in hints):
                text = shape.sub(rf"\g<1>{MASK}", text)
        return text

    def document(self, value: Any) -> Any:
        """The same of every text in a document of mappings, lists and plain values, names of entries too."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {self.document(name): self.document(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        return value


class _Process:
    """The one redactor of this process; replaced whole when a secret becomes known."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.redactor = Redactor()

    def hide(self, secrets: Iterable[str]) -> None:
        with self._lock:
            known = self.redactor.secrets
            if new := {secret for secret in secrets if len(secret) >= SHORTEST} - known:
                self.redactor = Redactor(known | new)


_PROCESS = _Process()


def hide(*secrets: str) -> None:
    """From now on `redact` takes these out: passwords, tokens, or addresses that hold some."""
    _PROCESS.hide(part for secret in secrets for part in secrets_of(secret))


def hide_variables(environ: Mapping[str, str]) -> None:
    """Hide what stands in the variables whose names say that it is secret, whether or not the value is any good."""
    for name, value in environ.items():
        if _SECRET_VARIABLE.fullmatch(name):
            hide(*value.split())


def redact(text: str) -> str:
    """The text without any secret that this process knows, or that looks like one."""
    return _PROCESS.redactor(text)


def redact_document(value: Any) -> Any:
    """A document of mappings, lists and plain values without secrets, as `redact`."""
    return _PROCESS.redactor.document(value)


def secrets_of(secret: str) -> set[str]:
    """The secret itself; of an address its password, tokens and keys, as written and decoded.

    ``[severity=]scheme://…`` is an address. A file's holds no secret.
    """
    if "://" not in secret:
        return {secret}
    address = re.sub(r"^[a-z]+=(?=[a-z])", "", secret)
    try:
        parts = urlsplit(address)
    except ValueError:  # it is no address after all
        return {secret}
    if parts.scheme in {"file", "console"}:
        return set()
    return {form for piece in (address, *_pieces(address)) for form in (piece, unquote(piece))}


def _pieces(address: str) -> Iterator[str]:
    parts = urlsplit(address)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    yield from filter(None, (password, *([] if password else [user])))
    is_database = parts.scheme.startswith("postgres")
    for name, value in parse_qsl(parts.query):
        if _IS_SECRET_NAME.search(name) or (not is_database and _is_token(value)):
            yield value
    if is_database:
        return
    yield from filter(_is_token, re.split(r"[/?#&=:]", f"{parts.path}?{parts.query}#{parts.fragment}"))
    if "." not in parts.netloc and not parts.netloc.startswith(("localhost", "[")):
        yield from filter(_is_token, re.split("[:@]", parts.netloc))  # slack://TOKEN/…: what stands for a host


def _is_word(secret: str) -> bool:
    return len(secret) < _SHORTEST_ANYWHERE and _ONLY_LETTERS.fullmatch(secret) is not None


def _is_token(part: str) -> bool:
    """Whether this part of an address may be a secret; words such as ``webhooks`` are none."""
    return len(part) >= _SHORTEST_PART and not (len(part) < _LONGEST_WORD and _WORD.fullmatch(part))


def _forms(secret: str) -> Iterator[str]:
    """How the secret may be written."""
    quoted = [secret, *(encode(secret) for encode in (_quote_all, quote, quote_plus))]
    yield from quoted
    yield from (re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in quoted)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    if len(secret) >= _SHORTEST_PART:
        raw = secret.encode(errors="surrogatepass")
        yield raw.hex()
        yield from _base64(raw)


def _quote_all(text: str) -> str:
    return quote(text, safe="")


def _base64(raw: bytes) -> Iterator[str]:
    """What base64 makes of it at each of the three places in a longer text, less what its neighbours share in."""
    for before in range(3):
        bits = 8 * (before + len(raw))
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = encode(b"\0" * before + raw).decode()[-(-8 * before // 6) : bits // 6]
            yield form
            yield _quote_all(form)
