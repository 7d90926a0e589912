"""``python -m benchmarks``: workload W1, then the readers' front door."""

from benchmarks import read_through, w1

w1.main()
print()
read_through.main([])
