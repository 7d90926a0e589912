"""What performance claims rest on: `make bench` prints one table; the last one kept is in docs/benchmarks.md."""
