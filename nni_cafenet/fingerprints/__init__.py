"""Fingerprints of settings, code, data and trainings, equal in every process."""

from .data import loader_record
from .training import evaluator_record, model_record
from .values import differences, digest, record_of

__all__ = ['differences', 'digest', 'evaluator_record', 'loader_record', 'model_record', 'record_of']
