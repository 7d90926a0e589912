from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from hl_pipeline.serve.web import rules_of
from hl_pipeline.settings import Settings
from hl_pipeline_tests.cli.test_supervisor import until
from hl_pipeline_tests.serve.conftest import PASSWORD, VIEWER_PASSWORD, Grounds, Web
from hl_pipeline_tests.serve.test_guard import greeted
from hl_pipeline_tests.serve.test_guard import socket as websocket

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_sigterm_ends_it_within_seconds_however_many_pages_are_open(grounds: Grounds) -> None:
    with grounds.web() as web, contextlib.ExitStack() as open_pages:
        assert all(greeted(open_pages.enter_context(websocket(web))) for _ in range(5))
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(timeout=10) == 0


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="listeners are read from /proc/net, which Linux has")
def test_it_listens_on_loopback_alone(guarded: Web) -> None:
    hexadecimal = f":{guarded.port:04X}"
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    listening = [line[1] for line in lines if line[1].endswith(hexadecimal) and line[3] == "0A"]
    assert listening == [f"0100007F{hexadecimal}"]


def test_viewers_without_a_password_of_their_own_need_the_operators() -> None:
    settings = Settings.load({"HL_VIEWER_PORT": "3001", "HL_UI_PASSWORD": PASSWORD})
    rules, port = rules_of(settings, viewer=True)
    assert (rules.password, rules.read_only, port) == (PASSWORD, True, 3001)
    assert "127.0.0.1:3000" not in rules.hosts
    settings = Settings.load({"HL_VIEWER_PORT": "3001", "HL_VIEWER_PASSWORD": VIEWER_PASSWORD})
    assert rules_of(settings, viewer=True)[0].password == VIEWER_PASSWORD
    assert rules_of(settings, viewer=False)[0].password is None
    assert VIEWER_PASSWORD not in repr(rules_of(settings, viewer=True))
    with pytest.raises(ValueError, match="HL_VIEWER_PORT is not set"):
        rules_of(Settings.load({}), viewer=True)


class Browser:
    """A headless Chromium, driven over its own WebSocket."""

    def __init__(self, folder: Path) -> None:
        command = [
            CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
        ]  # fmt: skip
        with contextlib.ExitStack() as opened:
            out = opened.enter_context((folder / "log").open("wb"))
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
            opened.callback(self._end)
            written = folder / "DevToolsActivePort"
            until(lambda: written.exists() and written.read_text().count("\n") == 1, 60)
            port, path = written.read_text().split("\n")
            address = f"ws://127.0.0.1:{port}{path}"
            self._socket = opened.enter_context(connect(address, proxy=None, max_size=None))
            self._opened = opened.pop_all()
        self._number = 0
        self.events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._call(method, parameters, self._session)

    def _call(self, method: str, parameters: object, session: str | None = None) -> dict[str, Any]:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(asked | ({"sessionId": session} if session else {})))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            self.events.append(message)

    def evaluate(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return found["result"].get("value")

    def happened(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event["method"] == method]

    def close(self) -> None:
        self._opened.close()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def browser(tmp_path: Path) -> Any:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this system")
    browser = Browser(tmp_path)
    try:
        yield browser
    finally:
        browser.close()


SOCKET = """
new Promise((done) => {
  const socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-ws");
  socket.onopen = () => socket.send(JSON.stringify({type: "connection_init", payload: {}}));
  socket.onmessage = (event) => { done(JSON.parse(event.data).type); socket.close(); };
  socket.onerror = () => done("refused");
})
"""


class TestInABrowser:
    def shows(self, browser: Browser, web: Web) -> None:
        """The page is there, and every answer it asked us for came."""
        browser.call("Page.navigate", url=f"http://{web.host}/")
        until(lambda: browser.evaluate("1") == 1 and len(self.asked(browser, web)) >= 4, 60)
        until(lambda: bool(browser.evaluate("document.body && document.body.innerText.includes('Deployment')")), 60)
        assert not [answer for answer in self.answers(browser, web) if answer[0] >= 400]

    def answers(self, browser: Browser, web: Web) -> list[tuple[int, str]]:
        answers = [event["response"] for event in browser.happened("Network.responseReceived")]
        return [(answer["status"], answer["url"]) for answer in answers if f":{web.port}/" in answer["url"]]

    def asked(self, browser: Browser, web: Web) -> list[str]:
        return [url for _, url in self.answers(browser, web) if url.split("?")[0].endswith("/graphql")]

    def log_in(self, browser: Browser, web: Web, password: str) -> None:
        browser.call("Page.navigate", url=f"http://hl:{password.replace(' ', '%20')}@{web.host}/server_info")

    def test_the_interface_loads_asks_and_holds_a_socket(self, browser: Browser, guarded: Web) -> None:
        self.shows(browser, guarded)
        assert browser.evaluate(SOCKET) == "connection_ack"

    def test_with_the_password_pages_and_sockets_work(self, browser: Browser, locked: Web) -> None:
        self.log_in(browser, locked, PASSWORD)
        self.shows(browser, locked)
        assert browser.evaluate(SOCKET) == "connection_ack"

    def test_without_the_password_there_is_nothing_to_see(self, browser: Browser, locked: Web) -> None:
        browser.call("Page.navigate", url=f"http://{locked.host}/")
        assert "Deployment" not in str(browser.evaluate("document.documentElement.innerText"))
        assert not self.asked(browser, locked)

    def test_the_viewers_interface_loads(self, browser: Browser, viewer: Web) -> None:
        self.log_in(browser, viewer, VIEWER_PASSWORD)
        self.shows(browser, viewer)

    def test_a_page_of_another_origin_can_neither_change_nor_frame_nor_listen(
        self, browser: Browser, grounds: Grounds, guarded: Web, bare: Web
    ) -> None:
        browser.call("Page.navigate", url=f"http://{bare.host}/")  # some other site, as a browser sees it
        until(lambda: bool(browser.evaluate("document.body && document.body.innerText.includes('Deployment')")), 60)
        run_id = grounds.store_run()
        attack = f'http://{guarded.host}/graphql?query=mutation{{deletePipelineRun(runId:"{run_id}"){{__typename}}}}'
        script = (
            f"new Promise((done) => {{ const i = new Image(); i.onerror = () => done('over'); i.src = `{attack}`; }})"
        )
        assert browser.evaluate(script) == "over"
        assert grounds.has_run(run_id)
        assert browser.evaluate(SOCKET.replace("${location.host}", guarded.host)) == "refused"
        framed = (
            "new Promise((done) => { const f = document.createElement('iframe'); f.onload = () => "
            "{ try { done(String(f.contentDocument)) } catch (e) { done('blocked') } }; "
            f"f.src = 'http://{guarded.host}/'; document.body.append(f); }})"
        )
        assert browser.evaluate(framed) in {"null", "blocked"}
        frames = browser.call("Page.getFrameTree")["frameTree"].get("childFrames", [])
        assert not [frame for frame in frames if frame["frame"]["url"].startswith(f"http://{guarded.host}")]
        assert [
            event["response"]["status"]
            for event in browser.happened("Network.responseReceived")
            if event["response"]["url"] == f"http://{guarded.host}/"
        ] == [403]
