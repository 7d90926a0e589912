"""``hl report`` writes the status report."""

from __future__ import annotations

from pathlib import Path

from hl_pipeline_tests.cli.conftest import Run


def test_the_page_is_written_where_the_web_interface_looks(run: Run, environ: dict[str, str], home: Path) -> None:
    run("collect")
    result = run("report")
    assert result.exit_code == 0
    written = home / "sandbox" / "report.html"
    assert str(written) in result.output
    text = written.read_text(encoding="utf-8")
    assert "<bdi>ETH</bdi>" in text
    assert "database_answers" in text


def test_or_where_it_is_told(run: Run, environ: dict[str, str], home: Path) -> None:
    target = home / "sent" / "today.html"
    assert run("report", str(target)).exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_place_that_cannot_be_written_is_said(run: Run, environ: dict[str, str], home: Path) -> None:
    (home / "file").write_text("x", encoding="utf-8")
    result = run("report", str(home / "file" / "report.html"))
    assert result.exit_code == 2
    assert "name another PATH" in result.stderr
