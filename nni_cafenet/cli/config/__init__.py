"""The options of a job: one set of fields for the command line and for configuration files."""

from .configuration import Configuration, Given
from .fields import FIELDS, SECTIONS, Field

__all__ = ['FIELDS', 'SECTIONS', 'Configuration', 'Field', 'Given']
