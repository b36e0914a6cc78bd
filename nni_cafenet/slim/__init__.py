"""Really smaller models: made, saved, loaded."""

from .extract import slim_model, write_back
from .files import PathLike, load_slim
from .rescale_init import fit_initialization
from .saving import save_slim

__all__ = ['PathLike', 'fit_initialization', 'load_slim', 'save_slim', 'slim_model', 'write_back']
