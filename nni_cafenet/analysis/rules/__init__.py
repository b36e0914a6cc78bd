"""How each family of operators passes channels on: one small rule a family, in a table that users extend.

`registry` holds the table; the other files register the rules of torch's own operators when they are imported.
"""

from . import (  # noqa: F401
    conv_linear,
    index_tables,
    indexing,
    linear_algebra,
    matmul,
    norm,
    parametrization,
    pointwise,
    recurrent,
    reshape,
    sampling,
    slices,
    spectral,
    views,
    vision,
)
from .layer_sizes import follow_sizes
from .registry import (
    Call,
    ConstantIndex,
    Dims,
    LayerCall,
    Rule,
    find_layer,
    find_rule,
    own_tensors,
    register_layer,
    register_rule,
)

__all__ = [
    'Call',
    'ConstantIndex',
    'Dims',
    'LayerCall',
    'Rule',
    'find_layer',
    'find_rule',
    'follow_sizes',
    'own_tensors',
    'register_layer',
    'register_rule',
]
