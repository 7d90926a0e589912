"""What Dagster does with our definitions, on a real Postgres and a plain exchange."""
