"""Postgres: the server we may run ourselves, connections, migrations, the SQL loader, one file per relation.

Not here: asking the exchange (source), deciding what to ask for (collect), judging (health). This room imports
only ``model``; it takes plain URLs and paths, never the settings object.
"""
