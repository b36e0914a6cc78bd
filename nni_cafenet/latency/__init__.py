"""Latency tables: operator times measured on a device and interpolated over widths."""

from .clock import time_model
from .options import LatencyOptions
from .table import LatencyTable

__all__ = ['LatencyOptions', 'LatencyTable', 'time_model']
