"""Run or read a part of a model: from channel sets to slices of its tensors.

Start at ``active_model``: a step of the supernet on one screen.
"""

from .active_model import ActiveModel
from .index_runs import open_index
from .memory_layout import memory_format_of
from .module_call import apply_attributes, call_with, using_attributes, using_mode
from .selection import Positions, Selection, put, take
from .tensor_slots import TensorSlots

__all__ = [
    'ActiveModel',
    'Positions',
    'Selection',
    'TensorSlots',
    'apply_attributes',
    'call_with',
    'memory_format_of',
    'open_index',
    'put',
    'take',
    'using_attributes',
    'using_mode',
]
