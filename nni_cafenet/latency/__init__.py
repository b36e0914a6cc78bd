"""What networks take on a device, in nanoseconds: measured operator by operator, interpolated over widths.

Data flows from clock and recorded operators through their followers and terms to the table, and to a budget's own.
"""
