"""What a run is asked for, as records that are checked once; free of torch."""

from .halving import Halving, epochs_text, halve

__all__ = ['Halving', 'epochs_text', 'halve']
