from __future__ import annotations

from hl_pipeline.storage.engine import Database


def test_a_connection_commits_at_the_end_of_its_block(database: Database) -> None:
    with database.connection() as connection:
        connection.execute("insert into hl.installation (venue) values ('sandbox')")
    with database.connection() as connection:
        assert connection.execute("select venue from hl.installation").fetchall() == [("sandbox",)]
