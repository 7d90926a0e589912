"""The status report, served: the page as written, and a line on top once nobody renews it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from hl_pipeline.derived.report_html import STALE_MARK
from hl_pipeline.serve.report import STALE_SECONDS, WithReport


def ask(path: Path, where: str = "/report", *, method: str = "GET", age_s: float = 0.0) -> httpx.Response:
    written = path.stat().st_mtime if path.exists() else 0.0
    app = WithReport(PlainTextResponse("dagster"), path, now=lambda: written + age_s)

    async def asking() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, where)

    return asyncio.run(asking())


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(f"<!DOCTYPE html><html><body>{STALE_MARK}<h1>all is well ✓</h1></body></html>", encoding="utf-8")
    return path


def test_the_page_is_shown_as_written_and_runs_nothing(page: Path) -> None:
    answer = ask(page)
    assert answer.status_code == 200
    assert "all is well ✓" in answer.text
    assert "minutes old" not in answer.text
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("age_s", "warns"), [(STALE_SECONDS - 1, False), (STALE_SECONDS, True)])
def test_a_page_that_nobody_renews_says_so(page: Path, age_s: float, warns: bool) -> None:
    assert ("10 minutes old: nobody renews it" in ask(page, age_s=age_s).text) is warns


def test_before_the_first_page_it_says_how_to_get_one(tmp_path: Path) -> None:
    answer = ask(tmp_path / "report.html")
    assert answer.status_code == 404
    assert "hl report" in answer.text


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/report/x"), ("POST", "/report")])
def test_everything_else_is_dagsters(page: Path, method: str, path: str) -> None:
    assert ask(page, path, method=method).text == "dagster"
