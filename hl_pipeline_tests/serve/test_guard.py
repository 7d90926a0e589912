"""Each attack over real HTTP against the real web server; what Dagster's own would have obeyed, against it too."""

from __future__ import annotations

import base64
import contextlib
import inspect
import json
import re
import socket as sockets
from urllib.parse import quote

import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from hl_pipeline.serve.guard import hosts_of
from hl_pipeline.serve.queries import changes_something
from hl_pipeline_tests.serve.conftest import PASSWORD, VIEWER_PASSWORD, Answer, Grounds, Web

VERSION = "{ version }"


def deletion(run_id: str) -> str:
    return f'mutation {{ deletePipelineRun(runId: "{run_id}") {{ __typename ... on PythonError {{ message }} }} }}'


def as_user(password: str) -> str:
    return "Basic " + base64.b64encode(f"hl:{password}".encode()).decode()


def is_refused(answer: Answer, status: int) -> bool:
    return answer.status == status and answer.text.startswith("refused: ")


def socket(web: Web, origin: str | None = None, **headers: str) -> ClientConnection:
    extra = {name.replace("_", "-"): value for name, value in headers.items()}
    host = extra.pop("Host", web.host)
    return connect(
        f"ws://{host}/graphql",
        sock=None if host == web.host else sockets.create_connection(("127.0.0.1", web.port)),
        origin=None if origin is None else Origin(origin),
        subprotocols=[Subprotocol("graphql-ws")],
        additional_headers=extra,
        proxy=None,
        open_timeout=30,
    )


def greeted(connection: ClientConnection) -> bool:
    connection.send(json.dumps({"type": "connection_init", "payload": {}}))
    return bool(json.loads(connection.recv(timeout=30)) == {"type": "connection_ack"})


class TestWhatIsRefused:
    def test_a_mutation_by_get_that_the_bare_server_obeys(self, grounds: Grounds, bare: Web, guarded: Web) -> None:
        run_id = grounds.store_run()
        path = f"/graphql?query={quote(deletion(run_id))}"
        assert is_refused(guarded.ask(path), 405)
        assert grounds.has_run(run_id)
        assert bare.ask(path).status == 200
        assert not grounds.has_run(run_id)

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
    @pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/%67raphql", "/graphql%0a", "//graphql"])
    def test_a_query_in_the_url_in_no_spelling(self, grounds: Grounds, guarded: Web, method: str, path: str) -> None:
        run_id = grounds.store_run()
        guarded.ask(f"{path}?query={quote(deletion(run_id))}", method, "" if method == "POST" else None)
        assert grounds.has_run(run_id)

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:80", ""])
    def test_a_foreign_host(self, bare: Web, guarded: Web, host: str) -> None:
        assert is_refused(guarded.ask("/server_info", Host=host), 400)
        assert bare.ask("/server_info", Host=host).status == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
    def test_a_foreign_origin(self, guarded: Web, origin: str) -> None:
        assert is_refused(guarded.graphql(VERSION, Origin=origin), 403)

    @pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
    def test_a_request_that_another_sites_page_makes(self, guarded: Web, site: str) -> None:
        assert is_refused(guarded.graphql(VERSION, Sec_Fetch_Site=site), 403)
        image = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
        assert is_refused(guarded.ask("/favicon.png", **image), 403)
        frame = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
        assert is_refused(guarded.ask("/", **frame), 403)
        form = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        assert is_refused(guarded.ask("/report_asset_materialization/a", "POST", "", **form), 403)

    @pytest.mark.parametrize("media", ["text/plain", "application/graphql", "application/x-www-form-urlencoded"])
    def test_graphql_in_a_form_that_needs_no_leave_from_the_browser(
        self, grounds: Grounds, guarded: Web, media: str
    ) -> None:
        run_id = grounds.store_run()
        assert is_refused(guarded.ask("/graphql", "POST", deletion(run_id), Content_Type=media), 415)
        assert grounds.has_run(run_id)

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
    def test_methods_that_nobody_uses(self, guarded: Web, method: str) -> None:
        assert is_refused(guarded.ask("/graphql", method), 405)

    def test_the_same_header_twice(self, guarded: Web) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=30)
        connection.putrequest("GET", "/server_info", skip_host=True)
        for origin in ("http://evil.example", f"http://{guarded.host}"):
            connection.putheader("Origin", origin)
        connection.putheader("Host", guarded.host)
        connection.endheaders()
        assert connection.getresponse().status == 400
        connection.close()

    def test_who_has_no_password_or_a_wrong_one(self, locked: Web) -> None:
        for given in ({}, {"Authorization": as_user("wrong")}, {"Authorization": as_user("")}):
            answer = locked.ask("/", **given)
            assert is_refused(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Basic ")
        for garbage in ("Basic", "Basic !!!", "Bearer " + PASSWORD, "Basic " + base64.b64encode(b"\xff").decode()):
            assert is_refused(locked.ask("/", Authorization=garbage), 401)
        assert is_refused(locked.graphql(VERSION), 401)

    def test_frames_and_guessed_types(self, guarded: Web, locked: Web) -> None:
        for answer in (guarded.ask("/"), guarded.ask("/server_info"), locked.ask("/"), guarded.ask("/livez")):
            assert answer.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["all-csp"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert "server" not in answer.headers
        assert "script-src" in guarded.ask("/").headers["all-csp"], "Dagster's own policy stays"


class TestSockets:
    def test_our_own_page_is_served(self, guarded: Web, locked: Web) -> None:
        with socket(guarded, f"http://{guarded.host}") as connection:
            assert greeted(connection)
        with socket(locked, f"http://{locked.host}", Authorization=as_user(PASSWORD)) as connection:
            assert greeted(connection)

    def test_a_foreign_origin_is_refused(self, bare: Web, guarded: Web) -> None:
        with pytest.raises(InvalidStatus, match="403"):
            socket(guarded, "http://evil.example")
        with socket(bare, "http://evil.example") as connection:
            assert greeted(connection)

    def test_a_foreign_host_is_refused(self, guarded: Web) -> None:
        with pytest.raises(InvalidStatus, match="403"):
            socket(guarded, Host="evil.example")

    def test_another_sites_page_is_refused(self, guarded: Web) -> None:
        with pytest.raises(InvalidStatus, match="403"):
            socket(guarded, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="websocket")

    def test_who_has_no_password_is_refused(self, locked: Web) -> None:
        for given in ({}, {"Authorization": as_user("wrong")}):
            with pytest.raises(InvalidStatus, match="403"):
                socket(locked, f"http://{locked.host}", **given)

    def test_a_mutation_is_not_carried_out(self, grounds: Grounds, guarded: Web) -> None:
        run_id = grounds.store_run()
        with socket(guarded) as connection:
            assert greeted(connection)
            start = {"type": "start", "id": "1", "payload": {"query": deletion(run_id)}}
            connection.send(json.dumps(start))
            with contextlib.suppress(ConnectionClosed):  # Dagster may give up on the connection instead
                assert json.loads(connection.recv(timeout=30))["type"] == "error"
        assert grounds.has_run(run_id)


class TestWhatPasses:
    def test_pages_files_and_queries_of_our_own(self, guarded: Web) -> None:
        own = {"Origin": f"http://{guarded.host}", "Sec_Fetch_Site": "same-origin"}
        page = guarded.ask("/runs?status=FAILURE", Sec_Fetch_Site="none")
        assert page.status == 200
        script = re.search(r'src="([^"]+\.js)"', page.text)
        assert script is not None
        assert guarded.ask(script[1], Sec_Fetch_Site="same-origin").status == 200
        assert "version" in json.loads(guarded.graphql(VERSION, **own).text)["data"]

    def test_a_mutation_of_our_own_page(self, grounds: Grounds, guarded: Web) -> None:
        run_id = grounds.store_run()
        assert guarded.graphql(deletion(run_id), Origin=f"http://{guarded.host}").status == 200
        assert not grounds.has_run(run_id)

    @pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "[::1]"])
    def test_loopback_by_each_of_its_names(self, guarded: Web, name: str) -> None:
        host = f"{name}:{guarded.port}"
        assert guarded.graphql(VERSION, Host=host, Origin=f"http://{host}").status == 200

    def test_a_link_that_somebody_followed_to_a_page(self, guarded: Web) -> None:
        followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        assert guarded.ask("/assets", **followed).status == 200

    def test_a_query_whose_name_stands_in_the_url_as_the_pages_send_it(self, grounds: Grounds, guarded: Web) -> None:
        run_id = grounds.store_run()
        body, path = json.dumps({"query": VERSION}), f"/graphql?op=Version&query={quote(deletion(run_id))}"
        assert "version" in json.loads(guarded.ask(path, "POST", body, Content_Type="application/json").text)["data"]
        assert grounds.has_run(run_id), "only the body counts"

    def test_the_password(self, locked: Web) -> None:
        assert locked.ask("/", Authorization=as_user(PASSWORD)).status == 200
        assert locked.graphql(VERSION, Authorization=as_user(PASSWORD)).status == 200

    def test_a_name_that_a_proxy_asks_for(self) -> None:
        hosts = hosts_of("192.168.1.5", 80, ["Dagster.Example.com"])
        assert {"192.168.1.5", "192.168.1.5:80", "localhost", "dagster.example.com"} <= hosts
        assert "[fe80::1]:3000" in hosts_of("fe80::1", 3000)


class TestViewer:
    def mutations(self, web: Web) -> list[str]:
        fields = "{ __schema { mutationType { fields { name } } } }"
        answer = web.graphql(fields, Authorization=as_user(VIEWER_PASSWORD))
        return [field["name"] for field in json.loads(answer.text)["data"]["__schema"]["mutationType"]["fields"]]

    def test_it_shows(self, viewer: Web) -> None:
        assert viewer.ask("/", Authorization=as_user(VIEWER_PASSWORD)).status == 200
        assert viewer.graphql(VERSION, Authorization=as_user(VIEWER_PASSWORD)).status == 200

    def test_it_refuses_every_mutation_there_is(self, viewer: Web) -> None:
        names = self.mutations(viewer)
        assert len(names) > 20
        for name in names:
            asked = viewer.graphql(f"mutation {{ {name} {{ __typename }} }}", Authorization=as_user(VIEWER_PASSWORD))
            assert is_refused(asked, 403), name

    def test_it_refuses_a_mutation_however_it_is_wrapped(self, grounds: Grounds, viewer: Web) -> None:
        run_id = grounds.store_run()
        let_in = {"Authorization": as_user(VIEWER_PASSWORD)}
        beside = f"query Harmless {VERSION} {deletion(run_id)}"
        assert is_refused(viewer.graphql(beside, **let_in), 403)
        assert is_refused(viewer.graphql("# mutation\n" + deletion(run_id), **let_in), 403)
        for body in ("[]", "{}", "nonsense", '{"query": 1}', '{"query": ["' + "x" * 2_000_000 + '"]}'):
            answer = viewer.ask("/graphql", "POST", body, Content_Type="application/json", **let_in)
            assert answer.status in {400, 413}
        assert is_refused(viewer.ask("/report_asset_materialization/a", "POST", "{}", **let_in), 405)
        assert grounds.has_run(run_id)

    def test_the_operators_password_is_not_the_viewers(self, viewer: Web) -> None:
        assert is_refused(viewer.ask("/", Authorization=as_user(PASSWORD)), 401)


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (VERSION, False),
        ("subscription { x }", False),
        ('query Q { runs(filter: {tags: [{key: "mutation", value: "mutation {}"}]}) { x } }', False),
        ("mutation { x }", True),
        ("query A { a } mutation B { b }", True),
        ("fragment F on Mutation { x } mutation { ...F }", True),
        ("not graphql", True),
        ("{" * 5000, True),
    ],
)
def test_a_document_is_judged_by_its_operations(text: str, changes: bool) -> None:
    assert changes_something(text) is changes


def test_no_secret_stands_in_the_log_of_a_server_that_was_asked_with_it(locked: Web) -> None:
    locked.ask("/", Authorization=as_user(PASSWORD))
    assert PASSWORD not in locked.log.read_text()


def test_dagster_still_has_what_we_take_from_its_inside() -> None:
    assert {"instance", "workspace_load_target", "version", "read_only"} <= set(
        inspect.signature(WorkspaceProcessContext).parameters
    )
    assert WorkspaceFileTarget(paths=["a.yaml"]).paths == ["a.yaml"]
    first, *_ = inspect.signature(create_app_from_workspace_process_context).parameters
    assert first == "workspace_process_context"
