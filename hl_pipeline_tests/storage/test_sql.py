from __future__ import annotations

import re
from pathlib import Path

import pglast
import pytest

from hl_pipeline.storage import sql

_FILES = sorted(sql.folder().rglob("*.sql"))
_QUERIES = sorted((sql.folder() / "queries").glob("*.sql"))
_PLACEHOLDER = re.compile(r"%\(\w+\)[sbt]")


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _parsed(path: Path) -> tuple[object, ...]:
    text = path.read_text(encoding="utf-8")
    if _PLACEHOLDER.search(text):
        text = _PLACEHOLDER.sub("null", text).replace("%%", "%")
    statements: tuple[object, ...] = pglast.parse_sql(text)
    return statements


@pytest.mark.parametrize("path", _FILES, ids=_named)
def test_every_file_is_sql_that_postgres_understands(path: Path) -> None:
    assert _parsed(path), "the file holds no statement"


@pytest.mark.parametrize("path", _FILES, ids=_named)
def test_every_file_opens_with_a_comment(path: Path) -> None:
    assert re.match(r"-- \S.{10,}", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", _QUERIES, ids=_named)
def test_a_query_is_one_statement_named_in_snake_case(path: Path) -> None:
    assert len(_parsed(path)) == 1
    assert re.fullmatch(r"[a-z][a-z0-9_]*", path.stem)


def test_queries_with_placeholders_double_every_other_percent_sign() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in _QUERIES}
    with_placeholders = {name: text for name, text in texts.items() if _PLACEHOLDER.search(text)}
    wrong = [name for name, text in with_placeholders.items() if "%" in _PLACEHOLDER.sub("", text).replace("%%", "")]
    assert with_placeholders
    assert not wrong, "psycopg would take the percent sign for a placeholder"


def test_a_query_is_read_by_name() -> None:
    assert "select" in sql.query("database_exists")
    assert sql.query("database_exists") is sql.query("database_exists")


def test_an_unknown_query_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match="no_such_question"):
        sql.query("no_such_question")


def test_a_wheel_carries_the_files_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hl_pipeline" / "_sql" / "migrations").mkdir(parents=True)
    monkeypatch.setattr(sql, "_PACKAGE", tmp_path / "hl_pipeline")
    assert sql.folder.__wrapped__() == tmp_path / "hl_pipeline" / "_sql"
    monkeypatch.setattr(sql, "_PACKAGE", tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="install the package again"):
        sql.folder.__wrapped__()
