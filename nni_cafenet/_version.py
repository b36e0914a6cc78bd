"""The version of this package, in one place: `setup.cfg` reads it without importing torch."""

__all__ = ['__version__']

__version__ = '0.1.0'
