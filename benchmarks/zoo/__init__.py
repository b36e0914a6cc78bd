"""The parts of ``benchmarks/coverage.py``: models, what is measured of each, other tools beside it, and the page."""
