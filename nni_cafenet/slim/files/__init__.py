"""The files of slim models, loaded with torch alone.

These files import nothing of the package but each other, so that they can be copied next to a deployed model: the folder as
it is, or as one file (see `joined_loader`).
"""

from .load import PathLike, load_slim
from .outputs import build_input, outputs_agree, summarize_outputs
from .sizes import SIZES, may_follow_width

__all__ = ['SIZES', 'PathLike', 'build_input', 'load_slim', 'may_follow_width', 'outputs_agree', 'summarize_outputs']
