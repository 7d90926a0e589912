"""What listens: Dagster's web interface behind our guard, and the health probes beside it."""
