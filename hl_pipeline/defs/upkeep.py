"""Whether Dagster's own tables are those of the installed Dagster. Reads only; makes no instance."""

from __future__ import annotations

from dagster_postgres import PostgresRunStorage


def storage_revision(dagster_url: str) -> tuple[str | None, str | None]:
    """The revision of Dagster's tables at ``dagster_url`` (``postgresql+psycopg2://…``), and the newest it knows.

    The first is null where it never made them.
    """
    storage = PostgresRunStorage(dagster_url, should_autocreate_tables=False)
    try:
        found, newest = storage.alembic_version() or (None, None)
        return found, newest if isinstance(newest, str | None) else ", ".join(newest)
    finally:
        storage.dispose()
