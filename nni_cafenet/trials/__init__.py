"""The stages of a run as trials of NNI's training services."""

from .as_trials import AsTrials
from .transfer import check_serializable

__all__ = ['AsTrials', 'check_serializable']
