"""What healthy means: numbers in, verdicts and one report out. No database, no Dagster, no sending of messages."""
