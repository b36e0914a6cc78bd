"""Data sources for the command line."""

from .pixels import Pixels, longest_side
from .request import Data, DataRequest
from .sources import (
    FORMS,
    NAMED,
    absolute_source,
    check_form,
    check_outputs,
    load_data,
    missing_place,
    names_code,
)

__all__ = [
    'FORMS',
    'NAMED',
    'Data',
    'DataRequest',
    'Pixels',
    'absolute_source',
    'check_form',
    'check_outputs',
    'load_data',
    'longest_side',
    'missing_place',
    'names_code',
]
