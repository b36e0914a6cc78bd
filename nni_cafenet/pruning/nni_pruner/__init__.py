"""A pruner with the interface of NNI's pruners: ``config_list``, evaluators, masks."""

from .pruner import CafeNetPruner

__all__ = ['CafeNetPruner']
