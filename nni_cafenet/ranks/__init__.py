"""The processes of one run on several devices: how they were started, what they agree on, and how they share batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._doors import lazy_names

if TYPE_CHECKING:
    from .agreement import (
        from_first as from_first,
        gathered as gathered,
        is_first as is_first,
        on_all as on_all,
        rank_and_ranks as rank_and_ranks,
    )
    from .launched import Launched as Launched
    from .lost_ranks import named_lost_ranks as named_lost_ranks
    from .meeting import meet as meet
    from .quiet import quiet_unless_first as quiet_unless_first
    from .split_batches import rank_loader as rank_loader
    from .split_ddp import STRATEGIES as STRATEGIES, splits_batches as splits_batches

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
