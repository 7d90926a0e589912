"""The local exchange: its truth, its manners, its limits and its faults."""
