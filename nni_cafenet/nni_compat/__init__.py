"""Compatibility with NNI 3.0: patches, one per file, and serialization for trials."""

from .patches import patch_nni, tell_loaders_of_batches
from .serialization import (
    PickledArgument,
    RecordPickler,
    factory_of,
    is_recorded,
    pickle_argument,
    pickle_limit,
    remake,
    remake_part,
    takes_pickled,
    traced,
    traced_tensors,
    unpickle_argument,
)

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
