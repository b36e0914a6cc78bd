"""Slim models: extracted, saved and loaded."""

from .extract import slim_model, write_back
from .files import PathLike, load_slim
from .one_file import joined_loader
from .rescale_init import rescale_initialization
from .saving import save_slim

__all__ = ['PathLike', 'joined_loader', 'load_slim', 'rescale_initialization', 'save_slim', 'slim_model', 'write_back']
