"""The operators of a model, in the order in which they run.

`operators` tries three ways: one run on the meta device (`meta_run`), ``torch.export``, one real run (`recorded_run`).
"""

from .constant_indices import ConstantIndices
from .meta_run import ListedOperators, run_on_meta, same_operators
from .mode_dependence import may_read_mode
from .opaque_modules import layers_with_rules
from .operators import operators_of, shapes_of

__all__ = [
    'ConstantIndices',
    'ListedOperators',
    'layers_with_rules',
    'may_read_mode',
    'operators_of',
    'run_on_meta',
    'same_operators',
    'shapes_of',
]
