"""What every decoder shares: the decimal rule, naming a bad body, naming a bad row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from hl_pipeline.model.answer import RejectedRow
from hl_pipeline.model.failure import BadAnswer
from hl_pipeline.model.redact import redact

_SEEN_CHARACTERS = 80
_PAYLOAD_CHARACTERS = 2000
_NAME_CHARACTERS = 64
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?")
_SIGNED_DECIMAL = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")
#: No instant of this exchange lies at or after 2100-01-01 UTC.
LATEST_MS = 4_102_444_800_000
DECIMAL_RULE = "a decimal is 1 to 20 ASCII digits, then at most a point and 1 to 20 more"
NAME_RULE = f"a name is 1 to {_NAME_CHARACTERS} printable characters without blanks"

_T = TypeVar("_T")
_ROWS = msgspec.json.Decoder(list[msgspec.Raw])


def is_decimal(text: str) -> bool:
    """Whether ``text`` is a plain, non-negative decimal; so no NaN, no exponent, no ``1_0``, no full-width digits."""
    return _DECIMAL.fullmatch(text) is not None


def is_signed_decimal(text: str) -> bool:
    """Whether ``text`` is a plain decimal that may be negative (funding, premium)."""
    return _SIGNED_DECIMAL.fullmatch(text) is not None


def is_instant(at_ms: int) -> bool:
    """Whether a number can be an instant of this exchange, in milliseconds since the epoch."""
    return 0 <= at_ms < LATEST_MS


def is_name(text: str) -> bool:
    """Whether ``text`` can name a market: printable, no blanks, of bounded length."""
    return 0 < len(text) <= _NAME_CHARACTERS and text.isprintable() and " " not in text


def bad_answer(what: str, body: bytes, fault: object) -> BadAnswer:
    """A ``BadAnswer`` that says what was asked, what was seen (the first 80 characters) and the rule it broke."""
    seen = redact(body[: 4 * _SEEN_CHARACTERS].decode("utf-8", "replace"))[:_SEEN_CHARACTERS]
    return BadAnswer(
        f"the exchange's answer to {what} starts {seen!r} ({len(body)} bytes): {fault}. "
        "It is asked again; if it stays, look at what the endpoint serves"
    )


def read(body: bytes, decoder: msgspec.json.Decoder[_T], what: str) -> _T:
    """Decode a whole body.

    Raises:
        BadAnswer: not JSON, not UTF-8, cut, nested absurdly deep, or of another shape.
    """
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_answer(what, body, error) from error


def read_rows(body: bytes, what: str) -> list[msgspec.Raw]:
    """The rows of a JSON array, each still as bytes.

    Raises:
        BadAnswer: the body is not one whole JSON array.
    """
    return read(body, _ROWS, what)


def read_row(raw: msgspec.Raw, decoder: msgspec.json.Decoder[_T]) -> _T | str:
    """One row decoded, or the rule it breaks as text."""
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"a row has its documented fields and types: {error}"


def reject(position: int, rule: str, value: object, raw: msgspec.Raw | bytes) -> RejectedRow:
    """A rejected row, its texts bounded and free of NUL (Postgres refuses it)."""
    return RejectedRow(position, _clean(rule), _clean(str(value)), _clean(bytes(raw).decode("utf-8", "replace")))


def offender(raw: msgspec.Raw, rule: str) -> str:
    """The value a msgspec message complains of (its path ends in a field name), or the whole row."""
    field = re.search(r"at `\$\.(\w+)", rule)
    try:
        row: Any = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        row = None
    if field is None or not isinstance(row, dict) or field[1] not in row:
        return bytes(raw).decode("utf-8", "replace")
    return repr(row[field[1]])


def first_broken(rules: Iterable[tuple[bool, str, object]]) -> tuple[str, object] | None:
    """The first rule that does not hold, with its value; rules are ``(holds, rule, value)``."""
    return next(((rule, value) for holds, rule, value in rules if not holds), None)


def _clean(text: str) -> str:
    return redact(text[: 4 * _PAYLOAD_CHARACTERS])[:_PAYLOAD_CHARACTERS].replace("\x00", "\N{REPLACEMENT CHARACTER}")
