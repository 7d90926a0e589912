"""Whoever is called at night finds a page, and everything the page tells to press or type exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import dagster as dg
import pytest
from click.testing import CliRunner

from hl_pipeline.cli.main import hl
from hl_pipeline.definitions import defs
from hl_pipeline.health.runbooks import FOLDER, PAGE_OF_RULE, RUNBOOKS, page, runbook_path
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.engine import Database

ROOT = Path(__file__).resolve().parent.parent
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / FOLDER).glob("*.md"))}
INDEX = PAGES.pop("README")
REPOSITORY = defs.get_repository_def()
CHECKS = {spec.name: spec for check in defs.asset_checks or [] for spec in check.check_specs}
NAMED = {
    "job": {job.name for job in REPOSITORY.get_all_jobs()},
    "schedule": {schedule.name for schedule in REPOSITORY.schedule_defs},
    "sensor": {sensor.name for sensor in REPOSITORY.sensor_defs},
}
ASSETS = {key.to_user_string() for key in REPOSITORY.asset_graph.get_all_asset_keys()}
HEADINGS = [
    "## What a failure means",
    "## Look at",
    "## Press or type",
    "## When it ends by itself",
]
TOLD = {**PAGES, "README": INDEX, **{f"{name}, in short": " ".join(known) for name, known in RUNBOOKS.items()}}
TOLD |= {f"{name}, described": spec.description or "" for name, spec in CHECKS.items()}


def test_every_check_has_its_page_and_every_page_its_check() -> None:
    assert set(PAGES) == set(CHECKS)


def test_every_check_says_how_bad_until_when_and_what_to_press() -> None:
    assert set(RUNBOOKS) == set(CHECKS)
    assert all(len(text) > 15 for known in RUNBOOKS.values() for text in known)


@pytest.mark.parametrize("spec", CHECKS.values(), ids=lambda spec: spec.name)
def test_every_check_links_its_page_in_the_definitions_too(spec: dg.AssetCheckSpec) -> None:
    assert spec.metadata["runbook"] == dg.MetadataValue.path(runbook_path(spec.name))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_named_for_its_check_answers_four_questions_and_stays_short(name: str) -> None:
    text = PAGES[name]
    assert text.startswith(f"# {name}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == HEADINGS
    assert all(len(part.strip()) > 30 for part in re.split(r"^## .*$", text, flags=re.MULTILINE))
    assert len(text.splitlines()) < 60
    assert page(name) == text


def test_the_index_lists_every_page() -> None:
    assert set(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \|", INDEX, flags=re.MULTILINE)) == set(PAGES)


@pytest.mark.parametrize("name", [*PAGES, "README"])
def test_every_link_leads_to_a_page(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TOLD[name]):
        assert (ROOT / FOLDER / target).is_file(), target


def commands(text: str) -> Iterator[str]:
    """What the text tells to type, each `hl …` in backquotes."""
    yield from (found.replace("\n", " ") for found in re.findall(r"`(?:psql \"\$\()?(hl [^`]*?)(?:\)\")?`", text))


def parsed(typed: str) -> None:
    """Walks down to the command and holds each option against those it has."""
    words = shlex.split(typed)[1:]
    command: click.Command = hl
    context = click.Context(hl)
    path: list[str] = []
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no {' '.join(['hl', *path, words[0]])}"
        command = found
        path.append(words.pop(0))
    known = {option for parameter in command.params for option in parameter.opts}
    asked = {word.split("=")[0] for word in words if word.startswith("-")}
    assert asked <= known, f"{typed}: {sorted(asked - known)} is no option of it"
    takes = sum(isinstance(parameter, click.Argument) for parameter in command.params)
    assert takes or not words or words[0].startswith("-"), f"{typed}: {words[0]} is one word too many"
    assert CliRunner().invoke(hl, [*path, "--help"]).exit_code == 0


@pytest.mark.parametrize("name", TOLD)
def test_every_command_that_is_told_can_be_typed(name: str) -> None:
    for typed in commands(TOLD[name]):
        parsed(typed)


@pytest.mark.parametrize("typed", ["hl gapz", "hl gaps --all-of-them", "hl dlq mend", "hl gaps now"])
def test_a_command_that_does_not_exist_would_be_noticed(typed: str) -> None:
    assert list(commands(f"First `{typed}`, then wait.")) == [typed]
    with pytest.raises(AssertionError):
        parsed(typed)


@pytest.mark.parametrize("name", TOLD)
def test_every_job_schedule_sensor_and_asset_that_is_told_exists(name: str) -> None:
    for told, kind in re.findall(r"`(\w+)`\s+(job|schedule|sensor)\b", TOLD[name]):
        assert told in NAMED[kind], f"there is no {kind} {told}"
    for told in re.findall(r"\basset\s+`(\w+)`", TOLD[name]):
        assert told in ASSETS, f"there is no asset {told}"


def test_every_statement_and_table_of_the_pages_exists(database: Database) -> None:
    with database.connection() as connection:
        for name, text in PAGES.items():
            for statement in re.findall(r"```sql\n(.*?)```", text, flags=re.DOTALL):
                connection.execute(b"explain " + statement.encode())
            for table in set(re.findall(r"\bhl\.[a-z_]+", text)):
                row = connection.execute("select to_regclass(%s)", (table,)).fetchone()
                assert row is not None
                assert row[0] is not None, f"{name}: there is no {table}"


def test_every_alert_rule_that_names_a_page_exists_and_so_does_the_page(database: Database) -> None:
    with database.connection() as connection:
        rules = alert_delivery.rules(connection)
    assert set(PAGE_OF_RULE) <= set(rules)
    assert set(PAGE_OF_RULE.values()) <= set(PAGES)
