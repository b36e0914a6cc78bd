"""Channel importance, and reordering of channels by it."""

from .reorder import ChannelOrder, order_channels, permute_channels
from .score import check_rule, importance

__all__ = ['ChannelOrder', 'check_rule', 'importance', 'order_channels', 'permute_channels']
