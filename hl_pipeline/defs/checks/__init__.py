"""What must hold of each relation. The verdicts are pure functions in ``health``; a check fetches, asks, reports."""
