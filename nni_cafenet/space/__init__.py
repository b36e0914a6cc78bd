"""From a channel graph to a space of widths, and from widths to a slim model.

The files in the order of the work: ``bins`` (the widths that a group may have), ``checks`` (of
widths and channel sets), ``width_space`` (the NNI model space),
``mutator`` (the front door that makes one), ``slim`` (the really smaller model), ``initialize`` (its untrained
weights), ``slim_files`` (the slim model on disk; needs torch alone) and ``summary`` (widths and their cost, as NNI's
web UI draws them); ``simplified`` is the space as NNI sends it to trials.
"""

from .bins import BinnedGroup, Bins, EqualBins, FlopsSensitiveBins, parse_bins
from .checks import check_array, check_channel_sets, check_widths
from .mutator import WidthMutator
from .trial_format import SimplifiedWidthSpace
from .web_ui_summary import mutation_summary, published_axes
from .width_space import ChannelSets, WidthSpace

__all__ = [
    'BinnedGroup',
    'Bins',
    'ChannelSets',
    'EqualBins',
    'FlopsSensitiveBins',
    'SimplifiedWidthSpace',
    'WidthMutator',
    'WidthSpace',
    'check_array',
    'check_channel_sets',
    'check_widths',
    'mutation_summary',
    'parse_bins',
    'published_axes',
]
