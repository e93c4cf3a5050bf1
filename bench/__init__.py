"""Measurements, side by side in one run. Nothing here is asserted; `python -m bench` prints a table."""
