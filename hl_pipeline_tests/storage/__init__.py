"""Tests of the storage room, against a real Postgres and real processes."""
