"""How each family of operators passes channels on: one small rule a family, in a table that users extend.

``registry`` holds the table; the other files register the rules of torch's own operators when they are imported.
"""

from . import conv_linear as layers
from . import indexing as cutting
from . import matmul as products
from . import norm as norms
from . import parametrization as derived
from . import pointwise as elementwise
from . import reshape as moving
from . import vision
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
