"""What a user may set: one frozen object, read from ``HL_*`` variables, judged before anything starts.

Every refusal names the variable, the value (never a secret's), the rule and the next step. Importing this module
does nothing; only `Settings.load` reads the environment. Rooms below take plain arguments, not this object.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.profile import MANNERS, Manner, Profile
from hl_pipeline.model.redact import hide_variables, secrets_of
from hl_pipeline.model.retention import LEAST_DAYS, Bounds, read_bound, read_candle_bounds
from hl_pipeline.model.universe import Universe

PREFIX = "HL_"
#: Read by the tests, not by the pipeline.
_TEST_PREFIX = "HL_TEST_"
_ENDPOINTS = {
    "live": "https://api.hyperliquid.xyz",
    "testnet": "https://api.hyperliquid-testnet.xyz",
    "sandbox": "http://127.0.0.1:4010",
}
_PORTS = {"https": 443, "http": 80}
MOST_ENDPOINTS = 8
_COIN = re.compile(r"[A-Za-z0-9@:/_.*?-]{1,64}")  # as hl.market checks it
_HOST_HEADER = re.compile(r"[a-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9a-f:.]{2,45}\](:[0-9]{1,5})?")
_LEAST_PASSWORD = 12
_CHANNEL = re.compile(r"((info|warning|error|critical)=)?[a-z][a-z0-9+.-]*://")
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    if "" in parts:
        raise ValueError("names must be separated by single commas")
    return parts


def _split_at_spaces(value: object) -> object:
    return value.split() if isinstance(value, str) else value


T = TypeVar("T")
CommaList = BeforeValidator(_split)
#: Addresses may hold commas, but no space.
WordList = BeforeValidator(_split_at_spaces)


def _of_profile(name: str, **bounds: Any) -> Any:
    """A field whose default is the profile's."""

    def value(known: dict[str, Any]) -> Any:
        return getattr(MANNERS[known.get("profile", Profile.BALANCED)], name)

    return Field(default_factory=value, **bounds)


class Settings(BaseModel):
    """Everything that can be set. Frozen; secrets do not show in its repr.

    ``endpoints`` are wire-compatible, the first is the primary, and ``endpoint`` is that first one.
    ``home`` is absolute; ``settle_seconds`` is how long after its close a candle may still change;
    ``request_deadline_seconds`` bounds one request in total; ``backfill_max_weight`` and ``backfill_max_minutes`` are
    what one back-fill may need (Dagster ends a run after an hour); a run that holds more than ``run_memory_mb`` ends
    between two answers; ``clock_offset_ms`` shifts market time, in the
    sandbox only. ``stream``: `hl up` follows the live stream too. ``alert_urls`` are where alerts are sent, each
    ``[severity=]scheme://…`` and secret; the console without any. ``markets`` are collected beside the ``universe``;
    ``period_seconds`` is the least time between two collections. ``ui_names`` are further Host headers by which the web
    interface is reached, through a proxy for example; beyond loopback it listens only with ``ui_password``.
    ``viewer_port`` serves a second, read-only interface, by default behind the same password. ``sentry_dsn`` is where
    failures are reported, nowhere by default. ``migrate_url`` names the database of ``database_url`` as a user who may
    change its schema. ``retention_*`` say how long what is kept: ``180d``, ``2y`` or
    ``forever``; candles one bound an interval (``1m=365d``), for ever where none is named. ``export_folder`` takes what
    is exported before it is dropped; by default it is in the venue's own folder. What
    ``profile`` sets (``PROFILED``) counts only where its own variable is not set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    venue: Literal["live", "testnet", "sandbox"] = "live"
    endpoint: str = ""
    endpoints: Annotated[tuple[str, ...], CommaList] = ()
    allowed_hosts: Annotated[tuple[str, ...], CommaList] = ()
    database_url: SecretStr | None = None
    dagster_database_url: SecretStr | None = None
    migrate_url: SecretStr | None = None
    home: Path = Path(".hl")
    markets: Annotated[tuple[str, ...], CommaList] = ("BTC", "ETH", "SOL", "ARB", "OP", "MATIC")
    universe: Universe = Universe.TOP50
    intervals: Annotated[tuple[Interval, ...], CommaList] = tuple(Interval)
    profile: Profile = Profile.BALANCED
    period_seconds: int = _of_profile("period_seconds", ge=60, le=900)
    weight_per_minute: int = _of_profile("weight_per_minute", ge=60, le=100_000)
    settle_seconds: float = _of_profile("settle_seconds", ge=0, le=3600, allow_inf_nan=False)
    concurrency: int = _of_profile("concurrency", ge=1, le=16)
    batch_requests: int = _of_profile("batch_requests", ge=1, le=1000)
    request_deadline_seconds: float = Field(default=15.0, gt=0, le=300, allow_inf_nan=False)
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=64 * 1024, le=1024 * 1024 * 1024)
    backfill_max_weight: int = Field(default=40_000, ge=20)
    backfill_max_minutes: int = Field(default=50, ge=1, le=1440)
    run_memory_mb: int = Field(default=2048, ge=256, le=1_048_576)
    stream: bool = True
    log_format: Literal["text", "json"] = "text"
    ui_port: int = Field(default=3000, ge=1, le=65535)
    ui_host: str = "127.0.0.1"
    ui_names: Annotated[tuple[str, ...], CommaList] = ()
    ui_password: SecretStr | None = None
    viewer_port: int | None = Field(default=None, ge=1, le=65535)
    viewer_password: SecretStr | None = None
    clock_offset_ms: int = 0
    alert_urls: Annotated[tuple[SecretStr, ...], WordList] = ()
    sentry_dsn: SecretStr | None = None
    retention_candles: Annotated[tuple[str, ...], CommaList] = ()
    retention_contexts: str = "180d"
    retention_fetches: str = "180d"
    retention_alerts: str = "180d"
    retention_logs: str = "180d"
    retention_runs: str = "7d"
    export_folder: Path | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Reads ``HL_*`` from ``environ``, the process's own by default. An empty value counts as not set.

        What is secret in it is taken out of all texts from now on (`model.redact`), though the settings be refused.

        Raises:
            InvalidSetting: naming every variable that is wrong, one a line.
        """
        environ = os.environ if environ is None else environ
        hide_variables(environ)
        ours = {
            name: value
            for name, value in environ.items()
            if name.startswith(PREFIX) and not name.startswith(_TEST_PREFIX)
        }
        try:
            return cls(**{name.removeprefix(PREFIX).lower(): value for name, value in ours.items() if value.strip()})
        except ValidationError as error:
            complaints = [
                _complaint(detail, ours)
                for detail in error.errors()
                if detail["type"] != "default_factory_not_called"  # says no more than that something else is wrong
            ]
        raise InvalidSetting("\n".join(complaints))

    @property
    def manner(self) -> Manner:
        """What the profile says, set or not."""
        return MANNERS[self.profile]

    def is_set(self, name: str) -> bool:
        """Whether the field was given, and is not the default or the profile's."""
        return name in self.model_fields_set

    @property
    def venue_home(self) -> Path:
        """The venue's own folder, so that a sandbox's candles never meet the real ones."""
        return self.home / self.venue

    @property
    def dagster_home(self) -> Path:
        """Dagster's folder."""
        return self.venue_home / "dagster"

    @property
    def drill_folder(self) -> Path:
        """Where a failover drill has its database, while it plays."""
        return self.venue_home / "drill"

    @property
    def exports(self) -> Path:
        """Where exported months go."""
        return self.export_folder or self.venue_home / "export"

    @property
    def retention(self) -> Bounds:
        """How long what is kept."""
        return Bounds(
            candles=read_candle_bounds(self.retention_candles),
            contexts_ms=read_bound(self.retention_contexts),
            fetches_ms=read_bound(self.retention_fetches),
            alerts_ms=read_bound(self.retention_alerts),
            logs_ms=read_bound(self.retention_logs),
            runs_ms=read_bound(self.retention_runs),
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret, whole and, of an address, its password, keys and tokens: what no text that leaves may hold."""
        whole = (
            self.database_url,
            self.dagster_database_url,
            self.migrate_url,
            self.ui_password,
            self.viewer_password,
            self.sentry_dsn,
            *self.alert_urls,
        )
        found = {part for secret in whole if secret is not None for part in secrets_of(secret.get_secret_value())}
        return tuple(sorted(found, key=len, reverse=True))

    def stream_url(self, endpoint: str | None = None) -> str:
        """Where the WebSocket of one of ``endpoints`` is, of the first by default: ``wss://host/ws``.

        Raises:
            InvalidSetting: it is none of the endpoints, so nobody has judged its host.
        """
        base = self.endpoint if endpoint is None else endpoint.removesuffix("/")
        if base not in self.endpoints:
            raise InvalidSetting(f"{base!r} is none of the endpoints: name it in HL_ENDPOINTS")
        return f"ws{base.removeprefix('http')}/ws"

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        home = home.expanduser().absolute()
        for place in (home, *home.parents):
            if place.exists() and not place.is_dir():
                raise ValueError(f"{place} is no folder; name one that exists or can be made")
        return home

    @field_validator("markets")
    @classmethod
    def _are_coins(cls, markets: tuple[str, ...]) -> tuple[str, ...]:
        for coin in markets:
            if not _COIN.fullmatch(coin):
                raise ValueError(f"{coin!r} is not a coin as the exchange writes it (BTC, @107, xyz:TSLA)")
        return _without_repeats(markets)

    @field_validator("intervals")
    @classmethod
    def _once_each(cls, intervals: tuple[Interval, ...]) -> tuple[Interval, ...]:
        return _without_repeats(intervals)

    @field_validator("alert_urls")
    @classmethod
    def _are_channels(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for place, url in enumerate(urls, start=1):
            if not _CHANNEL.match(url.get_secret_value()):
                raise ValueError(
                    f"entry {place} is no address: write [severity=]scheme://… between spaces, such as "
                    "error=slack://A/B/C or file:///var/log/alerts.jsonl; severities are info, warning, error, critical"
                )
        return urls

    @field_validator("export_folder")
    @classmethod
    def _absolute_if_given(cls, folder: Path | None) -> Path | None:
        return None if folder is None else folder.expanduser().absolute()

    @field_validator("retention_candles")
    @classmethod
    def _are_candle_bounds(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        _judged(read_candle_bounds, texts)
        return texts

    @field_validator(*(f"retention_{kind}" for kind in LEAST_DAYS))
    @classmethod
    def _is_bound(cls, text: str, about: ValidationInfo) -> str:
        _judged(read_bound, text, LEAST_DAYS[str(about.field_name).removeprefix("retention_")])
        return text

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host) or _is_address(host):
                raise ValueError(f"{host!r} is not a lower-case host name; addresses are not taken")
        return hosts

    @field_validator("ui_host")
    @classmethod
    def _ui_stays_here(cls, host: str) -> str:
        if not (_is_loopback(host) or _is_address(host)):
            raise ValueError("is no address to listen on, such as 127.0.0.1 or 192.168.1.5")
        return host

    @field_validator("ui_names")
    @classmethod
    def _are_host_headers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _HOST_HEADER.fullmatch(name):
                raise ValueError(f"{name!r} is not what a browser asks for (dagster.example.com, 10.0.0.5:3000)")
        return _without_repeats(names)

    @field_validator("ui_password", "viewer_password")
    @classmethod
    def _is_long(cls, password: SecretStr | None) -> SecretStr | None:
        text = password.get_secret_value() if password is not None else None
        if text is not None and not (len(text) >= _LEAST_PASSWORD and text.isprintable()):
            raise ValueError(f"needs at least {_LEAST_PASSWORD} printable characters (openssl rand -base64 24)")
        return password

    @field_validator("sentry_dsn")
    @classmethod
    def _is_dsn(cls, dsn: SecretStr | None) -> SecretStr | None:
        if dsn is not None:
            _judge_dsn(dsn.get_secret_value())
        return dsn

    @field_validator("database_url", "dagster_database_url", "migrate_url")
    @classmethod
    def _database_is_safe(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _judge_database_url(url.get_secret_value())
        return url

    @model_validator(mode="before")
    @classmethod
    def _endpoint_of_venue(cls, values: Any) -> Any:
        """One endpoint is a list of one, and the first of a list is the one endpoint."""
        if not isinstance(values, dict):
            return values
        first, listed = values.get("endpoint"), values.get("endpoints")
        if not first and listed:
            first = (listed.split(",") if isinstance(listed, str) else listed)[0].strip()
        first = first or _ENDPOINTS.get(values.get("venue", "live"), "")
        return {**values, "endpoint": first, "endpoints": listed or (first,)}

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_plain(cls, endpoint: str) -> str:
        return endpoint.removesuffix("/")

    @field_validator("endpoints")
    @classmethod
    def _endpoints_are_plain(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        if len(endpoints) > MOST_ENDPOINTS:
            raise ValueError(f"{len(endpoints)} are named; {MOST_ENDPOINTS} are the most that are probed")
        return tuple(endpoint.removesuffix("/") for endpoint in endpoints)

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        name = "HL_ENDPOINT" if self.endpoints == (self.endpoint,) else "HL_ENDPOINTS"
        for endpoint in (self.endpoint, *self.endpoints):
            _judge_endpoint(name, endpoint, self.venue, self.allowed_hosts)
        if self.endpoint != self.endpoints[0]:
            raise ValueError(
                f"HL_ENDPOINT: {self.endpoint!r} is not {self.endpoints[0]!r}, the first of HL_ENDPOINTS; "
                "set one of the two"
            )
        _judge_distinct(self.endpoints)
        if self.clock_offset_ms and self.venue != "sandbox":
            raise ValueError("HL_CLOCK_OFFSET_MS: market time may only be shifted in the sandbox; unset it")
        if self.dagster_database_url is not None and self.database_url is None:
            raise ValueError("HL_DAGSTER_DATABASE_URL: only goes with HL_DATABASE_URL; set both or neither")
        if self.migrate_url is not None and self.database_url is None:
            raise ValueError("HL_MIGRATE_URL: only goes with HL_DATABASE_URL; set both, or unset it")
        self._judge_ui()
        return self

    def _judge_ui(self) -> None:
        if not _is_loopback(self.ui_host) and self.ui_password is None:
            raise ValueError(
                f"HL_UI_HOST = {self.ui_host!r}: without a password the web interface only listens on loopback "
                "(127.0.0.1, ::1); set HL_UI_PASSWORD, and put TLS in front: the password travels in clear"
            )
        if self.ui_host in {"0.0.0.0", "::"} and not self.ui_names:  # noqa: S104 it is judged here
            raise ValueError(
                f"HL_UI_HOST = {self.ui_host!r}: nobody asks for that name; say in HL_UI_NAMES by which it is reached"
            )
        if self.viewer_port == self.ui_port:
            raise ValueError(f"HL_VIEWER_PORT = {self.ui_port}: is the web interface's own; choose another")
        if self.viewer_password is not None and self.viewer_port is None:
            raise ValueError("HL_VIEWER_PASSWORD: only goes with HL_VIEWER_PORT; set both, or unset it")


#: How the names of those fields end whose values are never shown.
_SECRET = ("database_url", "migrate_url", "password", "alert_urls", "sentry_dsn")
#: The fields whose defaults are the profile's.
PROFILED = frozenset(Manner.__dataclass_fields__) & frozenset(Settings.model_fields)


def _judge_endpoint(name: str, endpoint: str, venue: str, allowed_hosts: tuple[str, ...]) -> None:
    if "@" in endpoint:
        raise ValueError(f"{name}: carries a user or password, which no exchange needs; remove it")
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{name}: {endpoint!r} is not a URL; write it like {_ENDPOINTS[venue]}") from None
    if not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint or "\\" in endpoint:
        raise ValueError(f"{name}: {endpoint!r} has characters no host name has; write it like {_ENDPOINTS[venue]}")
    if parts.path or parts.query or parts.fragment or "?" in endpoint or "#" in endpoint:
        raise ValueError(f"{name}: {endpoint!r} must end after the host; write it like {_ENDPOINTS[venue]}")
    if venue == "sandbox":
        if parts.scheme != "http" or not _is_loopback(host):
            raise ValueError(f"{name}: {endpoint!r} is no sandbox: that is http on loopback, like {_ENDPOINTS[venue]}")
        return
    known = {urlsplit(_ENDPOINTS[venue]).hostname, *allowed_hosts}
    if parts.scheme != "https" or host not in known:
        raise ValueError(
            f"{name}: {endpoint!r} must be https to {' or '.join(sorted(map(str, known)))}; "
            "add a host you trust to HL_ALLOWED_HOSTS, or set HL_VENUE=sandbox for a local one"
        )


def _judge_distinct(endpoints: tuple[str, ...]) -> None:
    """Refuses one server under two spellings: it would be probed, and counted as a way out, twice."""
    places = [(parts.hostname, parts.port or _PORTS[parts.scheme]) for parts in map(urlsplit, endpoints)]
    for place, endpoint in zip(places, endpoints, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"HL_ENDPOINTS: {endpoint!r} is named more than once; name each server once")


def _judge_database_url(url: str) -> None:
    """Refuses what could show the password or the data to the network in between."""
    from psycopg import ProgrammingError  # here, because it takes 0.2 s and most processes set no URL
    from psycopg.conninfo import conninfo_to_dict

    if not url.startswith("postgresql://"):
        raise ValueError("must begin with postgresql:// (name no driver; each user of the URL picks its own)")
    try:
        parts = conninfo_to_dict(url)  # libpq's own reading: ?host= in the query overrules the authority
    except ProgrammingError:
        raise ValueError("is not a URL that libpq understands: postgresql://user:password@host:port/name") from None
    if not parts.get("dbname"):
        raise ValueError("names no database: postgresql://user:password@host:port/name")
    hosts = [str(parts[key]) for key in ("host", "hostaddr") if parts.get(key)]
    remote = [host for group in hosts for host in group.split(",") if not (host.startswith("/") or _is_loopback(host))]
    if remote and parts.get("sslmode") != "verify-full":
        raise ValueError(
            f"{remote[0]} is another machine, and the data must not travel there unproven: "
            "add ?sslmode=verify-full (and sslrootcert=system for a public certificate)"
        )


def _judge_dsn(dsn: str) -> None:
    """The value is secret: what is said of it names its host at most."""
    form = "write it like https://KEY@sentry.example.com/3"
    try:
        parts = urlsplit(dsn)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"is not a URL; {form}") from None
    project = parts.path.rpartition("/")[2]
    if not (host and parts.username and project.isdecimal()) or parts.query or parts.fragment or not dsn.isprintable():
        raise ValueError(f"is no address with a key and a project's number; {form}")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ValueError(
            f"reports travel over https, or over http to this machine (127.0.0.1), never to {host}; {form}"
        )


def _judged(rule: Callable[..., object], *values: object) -> None:
    """A rule of the model as one of a field."""
    try:
        rule(*values)
    except InvalidSetting as error:
        raise ValueError(str(error)) from error


def _complaint(detail: Any, given: Mapping[str, str]) -> str:
    field = str(detail["loc"][0]) if detail["loc"] else ""
    rule = str(detail["msg"]).removeprefix("Value error, ")
    if not field:
        return rule  # a rule over several variables names them itself
    name = PREFIX + field.upper()
    if detail["type"] == "extra_forbidden":
        known = ", ".join(sorted(PREFIX + known.upper() for known in Settings.model_fields))
        return f"{name} is not a setting; correct or unset it. There are: {known}"
    value = given.get(name, "")
    shown = "" if field.endswith(_SECRET) or "@" in value else f" = {value!r}"
    default = "" if field.endswith(_SECRET) else ", or unset it for the default"
    return f"{name}{shown}: {rule}; correct it{default}"


def _without_repeats(items: tuple[T, ...]) -> tuple[T, ...]:
    repeated = {str(item) for item in items if items.count(item) > 1}
    if repeated:
        raise ValueError(f"{', '.join(sorted(repeated))} is named more than once")
    return items


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
