"""NNI 3.0 on a current stack: its faults, patched one a file, and objects on their way to its trials."""

from .patches import mend_nni
from .patches.loaders import tell_loaders_of_batches
from .serialization.constructor_record import remake, remake_part, traced
from .serialization.pickled_argument import Kept, RecipePickler, is_recorded, keep, limit, takes_kept, unkept
from .serialization.stored_tensors import factory_of, traced_tensors

__all__ = [
    'Kept',
    'RecipePickler',
    'factory_of',
    'is_recorded',
    'keep',
    'limit',
    'mend_nni',
    'remake',
    'remake_part',
    'takes_kept',
    'tell_loaders_of_batches',
    'traced',
    'traced_tensors',
    'unkept',
]
