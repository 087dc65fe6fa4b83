"""Measurements: printed with their raw times, never asserted against a clock. `python -m tests.bench [NAME…]`."""
