"""Models, weights and code named on the command line."""

from .code_names import CodeName, required_arguments, taken_arguments
from .input_shape import InputShape, example_of
from .model_spec import check_model_name, load_model, takes_argument, torchvision_name
from .weights import find_weights, give_weights

__all__ = [
    'CodeName',
    'InputShape',
    'check_model_name',
    'example_of',
    'find_weights',
    'give_weights',
    'load_model',
    'required_arguments',
    'taken_arguments',
    'takes_argument',
    'torchvision_name',
]
