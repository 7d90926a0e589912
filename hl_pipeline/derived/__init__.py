"""Numbers from numbers: how far a series can be trusted, and small pictures. No database, no network, no Dagster."""
