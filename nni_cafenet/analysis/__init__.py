"""From a model and an example input to its channel graph."""

from .analyze import analyze_model
from .measured_macs import layer_macs
from .rules import register_layer, register_rule
from .unwrap import bare_model, fill_lazy_layers
from .verification import SameOutputs, beyond_masks, reordered, warn_of, with_known_batch

__all__ = [
    'SameOutputs',
    'analyze_model',
    'bare_model',
    'beyond_masks',
    'fill_lazy_layers',
    'layer_macs',
    'register_layer',
    'register_rule',
    'reordered',
    'warn_of',
    'with_known_batch',
]
