"""How important the channels of a trained model are, and the model with its channels in that order."""

from .reorder import ChannelOrder, order_channels, permute_channels
from .score import check_rule, importance

__all__ = ['ChannelOrder', 'check_rule', 'importance', 'order_channels', 'permute_channels']
