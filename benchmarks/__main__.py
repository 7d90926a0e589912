"""``python -m benchmarks``: workload W1."""

from benchmarks.w1 import main

main()
