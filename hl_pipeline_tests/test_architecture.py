"""The house rules that a reader cannot see in one file, read off the syntax tree."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hl_pipeline"

BRICKS = {"source", "storage", "derived", "health", "notify"}
#: Which rooms each room may import from, besides itself.
MAY_IMPORT = {
    "model": set[str](),
    "settings": {"model"},
    "sandbox": {"model"},
    **{room: {"model"} for room in BRICKS},
    "collect": {"model", *BRICKS},
    "runtime": {"model", "settings", "collect", *BRICKS},
    "read": {"model", "settings", "runtime", "collect", *BRICKS},
    "examine": {"model", "settings", "runtime", "collect", *BRICKS},
    "drill": {"model", "sandbox", "collect", *BRICKS},
    "defs": {"model", "settings", "runtime", "examine", "drill", "collect", *BRICKS},
    "serve": {"model", "settings", "runtime", "read", "examine", "collect", *BRICKS},
    "cli": {"model", "settings", "runtime", "read", "examine", "drill", "collect", "defs", "sandbox", *BRICKS},
    "definitions": {"model", "settings", "runtime", "collect", "defs", *BRICKS},
}
DAGSTER_ROOMS = {"defs", "definitions", "launch"}
#: Single files beside them that may import Dagster, each with its reason.
DAGSTER_FILES = {
    "hl_pipeline/serve/web.py",  # runs Dagster's own web server, inside our guard
}
LONGEST_FUNCTION = 60
#: Calls whose first argument is SQL.
SQL_CALLS = {"execute", "executemany", "copy", "read_sql", "read_sql_query", "sqlalchemy.text", "sa.text"}

MODULES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = sorted([*MODULES, *(ROOT / "hl_pipeline_tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room_of(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py")


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module that is imported anywhere in the tree, by absolute name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def forbidden_imports(
    tree: ast.AST, room: str, package: str = "hl_pipeline", *, may_dagster: bool = False
) -> list[str]:
    found = []
    for name in imported(tree, package):
        parts = name.split(".")
        if parts[0] == "hl_pipeline" and len(parts) > 1 and parts[1] not in {room, *MAY_IMPORT[room]}:
            found.append(name)
        if parts[0].startswith("dagster") and room not in DAGSTER_ROOMS and not may_dagster:
            found.append(name)
        if room == "model" and parts[0] != "hl_pipeline" and parts[0] not in sys.stdlib_module_names:
            found.append(name)
    return found


def is_glued(node: ast.expr) -> bool:
    """Whether a string is put together from parts at this place."""
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"format", "join"}:
        return not isinstance(node.func.value, ast.Call)  # psycopg's SQL("...").format(Identifier(...)) quotes
    return False


def name_of(called: ast.expr) -> str:
    """The last two words of what is called: ``connection.execute``, ``query``."""
    if isinstance(called, ast.Attribute):
        return f"{getattr(called.value, 'id', '')}.{called.attr}"
    return getattr(called, "id", "")


def glued_sql(tree: ast.AST) -> list[int]:
    """Lines on which SQL is written in place or glued from strings, instead of read from a file."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = name_of(node.func)
        literal = isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
        if called.rsplit(".", 1)[-1] == "query" and not literal and is_glued(node.args[0]):
            lines.append(node.lineno)
        if {called, called.rsplit(".", 1)[-1]} & SQL_CALLS and (is_glued(node.args[0]) or literal):
            lines.append(node.lineno)
    return lines


def long_functions(tree: ast.AST) -> list[str]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_run_one_way(path: Path) -> None:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    room = room_of(path)
    assert room == "__init__" or room in MAY_IMPORT, f"{room} is not a room of the house; name its imports here"
    tree, may_dagster = ast.parse(path.read_text()), named(path) in DAGSTER_FILES
    assert not forbidden_imports(tree, "model" if room == "__init__" else room, package, may_dagster=may_dagster)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_sql_is_read_from_files_and_never_glued(path: Path) -> None:
    assert not glued_sql(ast.parse(path.read_text())), "put the statement into sql/queries"


@pytest.mark.parametrize("path", ALL_FILES, ids=named)
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    assert not long_functions(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "a module opens with a docstring"


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in ALL_FILES if path.is_relative_to(PACKAGE)}
    assert not [named(folder) for folder in folders if not (folder / "__init__.py").exists()]


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("model", "import httpx"),
        ("model", "from hl_pipeline.storage import engine"),
        ("source", "def late():\n    from hl_pipeline.storage.engine import Database"),
        ("storage", "from hl_pipeline import settings"),
        ("storage", "from ..source import rest"),
        ("collect", "import dagster as dg"),
        ("collect", "from dagster_postgres import x"),
        ("serve", "import dagster as dg"),
        ("sandbox", "from hl_pipeline.collect import fill"),
        ("defs", "import hl_pipeline.cli.main"),
    ],
)
def test_the_import_rule_catches(room: str, line: str) -> None:
    assert forbidden_imports(ast.parse(line), room, f"hl_pipeline.{room}")


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("collect", "from hl_pipeline.storage.engine import Database"),
        ("defs", "import dagster as dg"),
        ("storage", "from hl_pipeline.storage import sql"),
        ("storage", "from . import sql"),
        ("model", "from dataclasses import dataclass"),
    ],
)
def test_the_import_rule_lets_pass(room: str, line: str) -> None:
    assert not forbidden_imports(ast.parse(line), room, f"hl_pipeline.{room}")


@pytest.mark.parametrize(
    "line",
    [
        "c.execute(f'select {x}')",
        "c.execute('select %s' % x)",
        "c.execute('select ' + x)",
        "c.execute('select {}'.format(x))",
        "c.execute('select 1')",
        "query(f'{x}')",
        "sqlalchemy.text('select 1')",
        "self.connection().execute(f'{x}')",
    ],
)
def test_the_sql_rule_catches(line: str) -> None:
    assert glued_sql(ast.parse(line))


@pytest.mark.parametrize(
    "line",
    [
        "c.execute(query('name'), {'a': 1})",
        "MetadataValue.text('none')",
        "c.execute(SQL('drop {}').format(Identifier(x)))",
    ],
)
def test_the_sql_rule_lets_pass(line: str) -> None:
    assert not glued_sql(ast.parse(line))


def test_the_length_rule_catches() -> None:
    assert long_functions(ast.parse("def long():\n" + "    pass\n" * LONGEST_FUNCTION)) == ["long"]
