"""Latency tables: operator times measured on a device and interpolated over widths."""

from .clock import Clock
from .model_time import time_model
from .options import LatencyOptions
from .runtimes import clock_of
from .table import LatencyTable

__all__ = ['Clock', 'LatencyOptions', 'LatencyTable', 'clock_of', 'time_model']
