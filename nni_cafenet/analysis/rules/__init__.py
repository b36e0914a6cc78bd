"""How each family of operators passes channels on: one small rule a family, in a table that users extend.

``registry`` holds the table; the other files register the rules of torch's own operators when they are imported.
"""

from . import (
    conv_linear as layers,
    indexing as cutting,
    matmul as products,
    norm as norms,
    parametrization as derived,
    pointwise as elementwise,
    reshape as moving,
    vision,
)
from .registry import Call, LayerCall, find_layer, find_rule, register_layer, register_rule

__all__ = [
    'Call',
    'LayerCall',
    'cutting',
    'derived',
    'elementwise',
    'find_layer',
    'find_rule',
    'layers',
    'moving',
    'norms',
    'products',
    'register_layer',
    'register_rule',
    'vision',
]
