"""A step of the supernet in less time, with the bits of the slow path in `ActiveModel`; the folder can be deleted."""

from .step import FastStep

__all__ = ['FastStep']
