"""Real forwards that show which groups of a channel graph the model can really change."""

from .attribute_search import DeadEnds
from .batch_dimension import with_known_batch
from .macs import flop_counter, without_fused_attention
from .noiseless import Noiseless
from .overrides import InDouble, reordered
from .probe_values import check_device
from .same_outputs import SameOutputs
from .verify import beyond_masks, confirmed, repaired, verify_groups, warn_of

__all__ = [
    'DeadEnds',
    'InDouble',
    'Noiseless',
    'SameOutputs',
    'beyond_masks',
    'check_device',
    'confirmed',
    'flop_counter',
    'reordered',
    'repaired',
    'verify_groups',
    'warn_of',
    'with_known_batch',
    'without_fused_attention',
]
