"""Data sources for the command line."""

from .pixels import Pixels, longest_side
from .request import Data, DataRequest
from .sources import FORMS, OF_FOLDERS, check_form, check_outputs, load_data, names_code

__all__ = [
    'FORMS',
    'OF_FOLDERS',
    'Data',
    'DataRequest',
    'Pixels',
    'check_form',
    'check_outputs',
    'load_data',
    'longest_side',
    'names_code',
]
