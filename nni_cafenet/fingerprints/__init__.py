"""What an object is, as plain data that is the same in every process: settings, code, data, trainings."""

from .data import loader_record
from .training import evaluator_record, model_record
from .values import differences, digest, record_of

__all__ = ['differences', 'digest', 'evaluator_record', 'loader_record', 'model_record', 'record_of']
