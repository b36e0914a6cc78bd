"""What a training step costs, counted in forwards."""

from __future__ import annotations

__all__ = ['FORWARDS_PER_BACKWARD']

FORWARDS_PER_BACKWARD = 2
"""Forwards that a backward costs: a layer has a product for its output, one for the gradient of its input, and one for
that of its weights, of about the same MACs each."""
