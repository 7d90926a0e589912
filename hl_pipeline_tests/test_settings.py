from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from hl_pipeline.cli.ground import as_environment
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.profile import MANNERS, Profile
from hl_pipeline.model.universe import Universe
from hl_pipeline.settings import PROFILED, Settings

CANARY = "canary-9f3c"


def test_nothing_set_means_the_live_exchange_and_the_embedded_postgres() -> None:
    settings = Settings.load({})
    assert (settings.venue, settings.endpoint) == ("live", "https://api.hyperliquid.xyz")
    assert settings.database_url is None
    assert settings.markets == ("BTC", "ETH", "SOL", "ARB", "OP", "MATIC")
    assert settings.universe is Universe.TOP50
    assert settings.period_seconds == 60
    assert settings.intervals == tuple(Interval)
    assert settings.home == Path.cwd() / ".hl"
    assert settings.ui_host == "127.0.0.1"


def test_the_venue_chooses_the_endpoint_and_the_folder() -> None:
    sandbox = Settings.load({"HL_VENUE": "sandbox", "HL_HOME": "/srv/hl"})
    assert sandbox.endpoint == "http://127.0.0.1:4010"
    assert sandbox.dagster_home == Path("/srv/hl/sandbox/dagster")
    assert Settings.load({"HL_VENUE": "testnet"}).endpoint == "https://api.hyperliquid-testnet.xyz"


def test_lists_are_separated_by_commas() -> None:
    settings = Settings.load({"HL_MARKETS": "BTC, @107,xyz:TSLA", "HL_INTERVALS": "1m,1h"})
    assert settings.markets == ("BTC", "@107", "xyz:TSLA")
    assert settings.intervals == (Interval.M1, Interval.H1)


def test_an_empty_value_counts_as_not_set() -> None:
    assert Settings.load({"HL_DATABASE_URL": "", "HL_VENUE": " "}) == Settings.load({})


def test_variables_of_others_are_left_alone() -> None:
    assert Settings.load({"PATH": "/bin", "HL_TEST_DATABASE_URL": "x"}) == Settings.load({})


@pytest.mark.parametrize("profile", Profile)
def test_a_profile_sets_what_belongs_together(profile: Profile) -> None:
    settings = Settings.load({"HL_PROFILE": str(profile)})
    assert {name: getattr(settings, name) for name in PROFILED} == {
        name: getattr(MANNERS[profile], name) for name in PROFILED
    }
    assert not any(settings.is_set(name) for name in PROFILED)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HL_CONCURRENCY", "3"),
        ("HL_SETTLE_SECONDS", "7"),
        ("HL_PERIOD_SECONDS", "120"),
        ("HL_WEIGHT_PER_MINUTE", "900"),
        ("HL_BATCH_REQUESTS", "10"),
    ],
)
@pytest.mark.parametrize("profile", Profile)
def test_a_variable_of_its_own_wins_over_the_profile(profile: Profile, variable: str, value: str) -> None:
    settings = Settings.load({variable: value, "HL_PROFILE": str(profile)})
    name = variable.removeprefix("HL_").lower()
    assert getattr(settings, name) == float(value)
    for other in PROFILED - {name}:
        assert getattr(settings, other) == getattr(MANNERS[profile], other)


def test_the_default_profile_is_the_balanced_one() -> None:
    assert Settings.load({"HL_PROFILE": "balanced"}) == Settings.load({})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings.load({}).venue = "sandbox"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("HL_VENUE", "mars", "'live', 'testnet' or 'sandbox'"),
        ("HL_MARKETS", "BTC,,ETH", "single commas"),
        ("HL_MARKETS", "BTC; drop table", "not a coin"),
        ("HL_MARKETS", "BTC,BTC", "more than once"),
        ("HL_PROFILE", "reckless", "'aggressive', 'balanced' or 'conservative'"),
        ("HL_BATCH_REQUESTS", "0", "greater than or equal to 1"),
        ("HL_UNIVERSE", "top10", "'list', 'top50', 'top100' or 'all'"),
        ("HL_PERIOD_SECONDS", "59", "greater than or equal to 60"),
        ("HL_PERIOD_SECONDS", "901", "less than or equal to 900"),
        ("HL_INTERVALS", "1m,2m", "'1m', '5m'"),
        ("HL_CONCURRENCY", "17", "less than or equal to 16"),
        ("HL_WEIGHT_PER_MINUTE", "many", "valid integer"),
        ("HL_SETTLE_SECONDS", "nan", "finite"),
        ("HL_REQUEST_DEADLINE_SECONDS", "0", "greater than 0"),
        ("HL_UI_HOST", "0.0.0.0", "only listens on loopback"),  # noqa: S104 what must be refused
        ("HL_UI_HOST", "dagster.example.com", "no address to listen on"),
        ("HL_UI_NAMES", "https://dagster.example.com", "not what a browser asks for"),
        ("HL_VIEWER_PORT", "3000", "choose another"),
        ("HL_UI_PORT", "99999", "65535"),
        ("HL_ALLOWED_HOSTS", "10.0.0.1", "not a lower-case host name"),
        ("HL_CLOCK_OFFSET_MS", "1", "only be shifted in the sandbox"),
        ("HL_DAGSTER_DATABASE_URL", "postgresql://localhost/d", "set both or neither"),
        ("HL_MARKETZ", "BTC", "There are: HL_ALERT_URLS, HL_ALLOWED_HOSTS"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_with_its_rule(name: str, value: str, rule: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings.load({name: value})
    assert name in str(refused.value)
    assert rule in str(refused.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(InvalidSetting, match=r"HL_VENUE.*\n.*HL_UI_PORT"):
        Settings.load({"HL_VENUE": "mars", "HL_UI_PORT": "x"})


HOSTILE = [
    "http://api.hyperliquid.xyz",
    "https://api.hyperliquid.xyz.evil.example",
    "https://evil.example",
    "https://evil.example#api.hyperliquid.xyz",
    "https://evil.example\\@api.hyperliquid.xyz",
    "https://api.hyperliquid.xyz@evil.example",
    "https://user:pw@api.hyperliquid.xyz",
    "https://api.hyperliquid.xyz/info",
    "https://api.hyperliquid.xyz?x=1",
    "https://api.hyperliquid.xyz?",
    "https://api.hyperliquid.xyz#",
    "https://api.hyperliquid.xyz:port",
    "https://api.hyperliquid.xyz:999999",
    "https://api.hyperliquid.xyz.",
    "https://аpi.hyperliquid.xyz",  # noqa: RUF001 the look-alike is the point
    "https://127.0.0.1",
    "https://[::1]",
    "https://169.254.169.254",
    "https://2130706433",
    "https://localhost",
    "https://api.hyperliquid-testnet.xyz",
    "file:///etc/passwd",
    "ftp://api.hyperliquid.xyz",
    "//api.hyperliquid.xyz",
    "api.hyperliquid.xyz",
    "https://",
    "https://[",
    "https://api.hyperliquid.xyz\r\nHost: evil",
]


@pytest.mark.parametrize("endpoint", HOSTILE)
def test_a_hostile_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidSetting, match="HL_ENDPOINT"):
        Settings.load({"HL_ENDPOINT": endpoint})


@pytest.mark.parametrize("endpoint", [*HOSTILE, "https://api.hyperliquid.xyz:443", "https://API.hyperliquid.xyz"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_hostile_endpoint_in_a_list_is_refused_wherever_it_stands(endpoint: str, place: int) -> None:
    listed = ["https://api.hyperliquid.xyz", "https://mirror.example.org"]
    listed.insert(place, endpoint)
    with pytest.raises(InvalidSetting, match="HL_ENDPOINTS") as refused:
        Settings.load({"HL_ENDPOINTS": ",".join(listed), "HL_ALLOWED_HOSTS": "mirror.example.org"})
    assert "user:pw" not in str(refused.value)


def test_several_endpoints_are_taken_in_their_order() -> None:
    loaded = Settings.load(
        {
            "HL_ALLOWED_HOSTS": "mirror.example.org,other.example.org",
            "HL_ENDPOINTS": "https://mirror.example.org/, https://api.hyperliquid.xyz,https://other.example.org:8443",
        }
    )
    assert loaded.endpoints == (
        "https://mirror.example.org",
        "https://api.hyperliquid.xyz",
        "https://other.example.org:8443",
    )
    assert loaded.endpoint == "https://mirror.example.org"
    assert loaded.stream_url() == "wss://mirror.example.org/ws"
    assert loaded.stream_url("https://other.example.org:8443") == "wss://other.example.org:8443/ws"
    assert Settings.load(as_environment(loaded)) == loaded, "a child gets the same"


def test_one_endpoint_is_a_list_of_one() -> None:
    one = Settings.load({"HL_VENUE": "sandbox", "HL_ENDPOINT": "http://127.0.0.1:5000"})
    assert one.endpoints == ("http://127.0.0.1:5000",)
    assert one == Settings.load({"HL_VENUE": "sandbox", "HL_ENDPOINTS": "http://127.0.0.1:5000"})
    assert one.stream_url() == "ws://127.0.0.1:5000/ws"
    assert Settings.load({}).endpoints == ("https://api.hyperliquid.xyz",)


@pytest.mark.parametrize("url", ["https://evil.example", "wss://api.hyperliquid.xyz", "https://api.hyperliquid.xyz/x"])
def test_there_is_no_stream_beside_the_endpoints(url: str) -> None:
    with pytest.raises(InvalidSetting, match="none of the endpoints"):
        Settings.load({}).stream_url(url)


def test_two_settings_that_name_different_primaries_are_refused() -> None:
    both = {"HL_ENDPOINT": "http://127.0.0.1:1", "HL_ENDPOINTS": "http://127.0.0.1:2,http://127.0.0.1:1"}
    with pytest.raises(InvalidSetting, match="set one of the two"):
        Settings.load({"HL_VENUE": "sandbox", **both})


@pytest.mark.parametrize(
    ("listed", "rule"),
    [
        ("http://127.0.0.1:1,,http://127.0.0.1:2", "single commas"),
        (",", "single commas"),
        ("http://127.0.0.1:1,http://127.0.0.1:1/", "more than once"),
        ("http://127.0.0.1,http://127.0.0.1:80", "more than once"),
        (",".join(f"http://127.0.0.1:{port}" for port in range(1, 10)), "8 are the most"),
        ("http://127.0.0.1:1,https://api.hyperliquid.xyz", "no sandbox"),
        ("http://127.0.0.1:1,http://10.0.0.1", "no sandbox"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(listed: str, rule: str) -> None:
    with pytest.raises(InvalidSetting, match="HL_ENDPOINTS") as refused:
        Settings.load({"HL_VENUE": "sandbox", "HL_ENDPOINTS": listed})
    assert rule in str(refused.value)


@pytest.mark.parametrize(
    "endpoint",
    ["http://10.0.0.1:4010", "https://127.0.0.1", "http://127.1", "http://sandbox.example", "http://0.0.0.0"],
)
def test_the_sandbox_is_http_on_loopback_only(endpoint: str) -> None:
    with pytest.raises(InvalidSetting, match="loopback"):
        Settings.load({"HL_VENUE": "sandbox", "HL_ENDPOINT": endpoint})


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:5000", "http://localhost:1/", "http://[::1]:4010"])
def test_a_sandbox_on_loopback_is_taken(endpoint: str) -> None:
    loaded = Settings.load({"HL_VENUE": "sandbox", "HL_ENDPOINT": endpoint, "HL_CLOCK_OFFSET_MS": "-60000"})
    assert loaded.endpoint == endpoint.rstrip("/")
    assert loaded.clock_offset_ms == -60000


def test_a_host_of_the_users_own_list_is_taken() -> None:
    loaded = Settings.load({"HL_ALLOWED_HOSTS": "mirror.example.org", "HL_ENDPOINT": "https://mirror.example.org"})
    assert loaded.endpoint == "https://mirror.example.org"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{CANARY}@localhost/hl",
        f"postgresql://u:{CANARY}@127.0.0.1:5433/hl?sslmode=disable",
        f"postgresql://u:{CANARY}@[::1]/hl",
        "postgresql:///hl?host=/run/postgresql",
        f"postgresql://u:{CANARY}@db.example.com/hl?sslmode=verify-full&sslrootcert=system",
    ],
)
def test_a_database_here_or_behind_a_proven_certificate_is_taken(url: str) -> None:
    loaded = Settings.load({"HL_DATABASE_URL": url})
    assert loaded.database_url is not None
    assert loaded.database_url.get_secret_value() == url
    assert CANARY not in repr(loaded)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{CANARY}@db.example.com/hl",
        f"postgresql://u:{CANARY}@db.example.com/hl?sslmode=prefer",
        f"postgresql://u:{CANARY}@db.example.com/hl?sslmode=require",
        f"postgresql://u:{CANARY}@localhost/hl?host=db.example.com",
        f"postgresql://u:{CANARY}@localhost/hl?hostaddr=10.0.0.1",
        f"postgresql://u:{CANARY}@localhost,db.example.com/hl",
        f"postgresql+psycopg://u:{CANARY}@localhost/hl",
        f"postgres://u:{CANARY}@localhost/hl",
        f"mysql://u:{CANARY}@localhost/hl",
        f"postgresql://u:{CANARY}@localhost",
        f"postgresql://u:{CANARY}@localhost/hl?nonsense=1",
        f"postgresql://u:{CANARY}@[::1/hl",
    ],
)
def test_an_unsafe_database_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidSetting, match="HL_DATABASE_URL") as refused:
        Settings.load({"HL_DATABASE_URL": url})
    assert CANARY not in str(refused.value.args), "not even before redaction"
    assert refused.value.__context__ is None


@pytest.mark.parametrize("dsn", [f"https://{CANARY}@sentry.example.com/3", f"http://{CANARY}@127.0.0.1:9000/sub/3"])
def test_errors_are_reported_over_https_or_to_this_machine(dsn: str) -> None:
    loaded = Settings.load({"HL_SENTRY_DSN": dsn})
    assert loaded.sentry_dsn is not None
    assert loaded.sentry_dsn.get_secret_value() == dsn
    assert CANARY not in repr(loaded)
    assert CANARY in loaded.secrets


@pytest.mark.parametrize(
    "dsn",
    [
        f"http://{CANARY}@sentry.example.com/3",
        f"http://{CANARY}@10.0.0.5/3",
        f"ftp://{CANARY}@sentry.example.com/3",
        "https://sentry.example.com/3",
        f"https://{CANARY}@sentry.example.com/",
        f"https://{CANARY}@sentry.example.com/project",
        f"https://{CANARY}@sentry.example.com/3?to=elsewhere",
        f"https://{CANARY}@/3",
        f"https://{CANARY}@[::1/3",
        CANARY,
    ],
)
def test_no_other_address_gets_our_errors_and_it_is_not_shown(dsn: str) -> None:
    with pytest.raises(InvalidSetting, match="HL_SENTRY_DSN") as refused:
        Settings.load({"HL_SENTRY_DSN": dsn})
    assert CANARY not in str(refused.value.args), "not even before redaction"


def test_importing_settings_opens_no_file_of_ours_and_loads_no_driver() -> None:
    program = (
        "import sys, hl_pipeline.settings as s\n"
        "assert not {'psycopg', 'sqlalchemy', 'dagster', 'pandas'} & set(sys.modules), 'too much is imported'\n"
        "s.Settings.load({})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={"HL_VENUE": "nonsense"}
    )
    assert done.returncode == 0, done.stderr


def test_beyond_loopback_the_interface_needs_a_password_and_a_name() -> None:
    beyond = {"HL_UI_HOST": "0.0.0.0", "HL_UI_PASSWORD": "correct horse battery"}  # noqa: S104 what is judged
    with pytest.raises(InvalidSetting, match="HL_UI_NAMES"):
        Settings.load(beyond)
    assert Settings.load({**beyond, "HL_UI_NAMES": "dagster.example.com"}).ui_host == "0.0.0.0"  # noqa: S104
    assert Settings.load({**beyond, "HL_UI_HOST": "192.168.1.5"}).ui_host == "192.168.1.5"


@pytest.mark.parametrize("name", ["HL_UI_PASSWORD", "HL_VIEWER_PASSWORD"])
def test_a_refused_password_is_not_shown(name: str) -> None:
    with pytest.raises(InvalidSetting, match="at least 12") as caught:
        Settings.load({name: "hunter2", "HL_VIEWER_PORT": "3001"})
    assert "hunter2" not in str(caught.value.args), "not even before redaction"
    assert "hunter2hunter2" not in repr(Settings.load({name: "hunter2hunter2", "HL_VIEWER_PORT": "3001"}))


def test_a_viewers_password_without_a_viewer_is_a_mistake() -> None:
    with pytest.raises(InvalidSetting, match="HL_VIEWER_PORT"):
        Settings.load({"HL_VIEWER_PASSWORD": "correct horse battery"})


def test_a_home_that_is_or_lies_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidSetting, match="file is no folder"):
            Settings.load({"HL_HOME": str(home)})
    assert Settings.load({"HL_HOME": str(tmp_path / "new" / "one")}).home == tmp_path / "new" / "one"
