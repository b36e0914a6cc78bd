"""The width space: an NNI model space over the channel graph of a model."""

from .bins import BinnedGroup, Bins, EqualBins, FlopsSensitiveBins, parse_bins
from .checks import check_array, check_channel_sets, check_widths
from .divisors import Divisor
from .model_argument import norms_held_in_eval
from .mutator import WidthMutator
from .nni_choices import full_network, has_choices, refuse_choices
from .trial_format import SimplifiedWidthSpace
from .web_ui_summary import mutation_summary, published_axes
from .width_space import ChannelSets, WidthSpace

__all__ = [
    'BinnedGroup',
    'Bins',
    'ChannelSets',
    'Divisor',
    'EqualBins',
    'FlopsSensitiveBins',
    'SimplifiedWidthSpace',
    'WidthMutator',
    'WidthSpace',
    'check_array',
    'check_channel_sets',
    'check_widths',
    'full_network',
    'has_choices',
    'mutation_summary',
    'norms_held_in_eval',
    'parse_bins',
    'published_axes',
    'refuse_choices',
]
