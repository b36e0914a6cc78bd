"""The channel graph as data: groups, layouts, attributes and cost polynomials."""

from .attributes import Attribute, ChannelKernel, Cut, DimSlice, PositionTable
from .channel_graph import ChannelGraph, ChannelGroup, FixedChannels, Layout, Listing
from .cost import CostModel, Polynomial
from .example_input import ExampleInput
from .layer_patterns import LayerPattern, excluded_modules, matching_layers, restrict
from .outputs import Outputs

__all__ = [
    'Attribute',
    'ChannelGraph',
    'ChannelGroup',
    'ChannelKernel',
    'CostModel',
    'Cut',
    'DimSlice',
    'ExampleInput',
    'FixedChannels',
    'LayerPattern',
    'Layout',
    'Listing',
    'Outputs',
    'Polynomial',
    'PositionTable',
    'excluded_modules',
    'matching_layers',
    'restrict',
]
