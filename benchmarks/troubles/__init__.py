"""Troubles that are injected for real, what the operator sees of each, and how it ends."""
