"""The options of a job: one set of fields for the command line and for configuration files."""

from .configuration import Configuration, Given, check_options, set_fields
from .fields import FIELDS, SECTIONS, Field
from .flags import add_flags, given_flags
from .fraction import with_fraction
from .missing_files import list_missing_files, list_outputs_in_the_way, output_in_the_way

__all__ = [
    'FIELDS',
    'SECTIONS',
    'Configuration',
    'Field',
    'Given',
    'add_flags',
    'check_options',
    'given_flags',
    'list_missing_files',
    'list_outputs_in_the_way',
    'output_in_the_way',
    'set_fields',
    'with_fraction',
]
