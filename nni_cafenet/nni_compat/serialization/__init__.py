"""Serialization for trial processes: constructor records, pickled arguments, stored tensors."""

from .constructor_record import remake, remake_part, traced
from .pickled_argument import (
    PickledArgument,
    RecordPickler,
    is_recorded,
    pickle_argument,
    pickle_limit,
    takes_pickled,
    unpickle_argument,
)
from .stored_tensors import factory_of, traced_tensors

__all__ = [
    'PickledArgument',
    'RecordPickler',
    'factory_of',
    'is_recorded',
    'pickle_argument',
    'pickle_limit',
    'remake',
    'remake_part',
    'takes_pickled',
    'traced',
    'traced_tensors',
    'unpickle_argument',
]
