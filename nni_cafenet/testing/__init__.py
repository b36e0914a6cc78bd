"""Small real data and small networks for tests, examples and the quickstart, which train in seconds on one core."""

from .handwritten_digits import digits
from .networks import SmallResNet, StagedResNet

__all__ = ['SmallResNet', 'StagedResNet', 'digits']
