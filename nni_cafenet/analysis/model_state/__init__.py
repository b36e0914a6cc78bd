"""Leave a model, and whatever its code reaches, as it was: object by object."""

from .objects import ModelState, code_names, code_words, untouched

__all__ = ['ModelState', 'code_names', 'code_words', 'untouched']
