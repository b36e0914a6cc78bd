"""What networks take on a device, in nanoseconds: measured operator by operator, interpolated over widths.

The files in the order of the work: ``operator`` (calls as plain data), ``clock`` (real time), ``followers`` (which sizes
follow which widths), ``terms`` (times on a grid), ``plan`` (what to measure), ``measured`` (times on disk),
``calibration`` (from operators to networks), ``table`` (the result), ``measure`` (all of it in order) and ``asked`` (what
a budget says of it).
"""

from .clock import time_model
from .options import LatencyOptions
from .table import LatencyTable

__all__ = ['LatencyOptions', 'LatencyTable', 'time_model']
