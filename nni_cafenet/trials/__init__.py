"""The stages of a run as NNI trials: what they do in their processes, and how the main process runs them."""

from .as_trials import AsTrials
from .transfer import check_serializable

__all__ = ['AsTrials', 'check_serializable']
