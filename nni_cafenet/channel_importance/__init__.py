"""Channel importance, and reordering of channels by it."""

from .reorder import ChannelOrder, order_channels, permute_channels
from .score import check_rule, importance, needs_data

__all__ = [
    'ChannelOrder',
    'check_rule',
    'importance',
    'needs_data',
    'order_channels',
    'permute_channels',
]
