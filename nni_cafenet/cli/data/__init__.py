"""Data sources for the command line."""

from .request import Data, DataRequest
from .sources import FORMS, check_form, check_outputs, load_data

__all__ = ['FORMS', 'Data', 'DataRequest', 'check_form', 'check_outputs', 'load_data']
