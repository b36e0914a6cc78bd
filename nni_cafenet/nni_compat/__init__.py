"""Compatibility with NNI 3.0: patches, one per file, and serialization for trials."""

from .patches import patch_nni
from .patches.loaders import tell_loaders_of_batches
from .serialization.constructor_record import remake, remake_part, traced
from .serialization.pickled_argument import (
    PickledArgument,
    RecordPickler,
    is_recorded,
    pickle_argument,
    pickle_limit,
    takes_pickled,
    unpickle_argument,
)
from .serialization.stored_tensors import factory_of, traced_tensors

__all__ = [
    'PickledArgument',
    'RecordPickler',
    'factory_of',
    'is_recorded',
    'patch_nni',
    'pickle_argument',
    'pickle_limit',
    'remake',
    'remake_part',
    'takes_pickled',
    'tell_loaders_of_batches',
    'traced',
    'traced_tensors',
    'unpickle_argument',
]
