"""NNI's profilers on a width space: they get its own exact costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from nni.mutable import Categorical, MutableExpression
from nni.nas.profiler.pytorch.flops import FlopsResult
from nni.nas.profiler.pytorch.utils import MutableShape, profiler_leaf_module
from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ['NniProfiled']


class _Costs(Protocol):
    """The part of a `WidthSpace` that profilers use."""

    full_model: nn.Module

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]: ...

    def macs(self, widths: Any) -> Any: ...

    def params(self, widths: Any) -> Any: ...


@profiler_leaf_module
class NniProfiled:
    """What NNI's `FlopsProfiler` and `NumParamsProfiler` call instead of looking into a space's layers.

    Their results are `macs` and `params`; options such as ``count_bias`` have no effect.
    """

    def _shape_forward(self: _Costs, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = pytree.tree_map(lambda value: getattr(value, 'elem', value), (args, kwargs))
        output = self.full_model(*args, **kwargs)
        return pytree.tree_map(lambda value: MutableShape(*value.shape) if isinstance(value, Tensor) else value, output)

    def _count_flops(self: _Costs, *sizes: Any) -> FlopsResult:
        choices = [Categorical(list(widths), label=label) for label, widths in self.choices.items()]
        labels = list(self.choices)

        def expression(cost: Any, name: str) -> Any:
            text = f'{name}({", ".join(["{}"] * len(labels))})'
            return MutableExpression(lambda *widths: cost(dict(zip(labels, widths))), text, choices)

        return FlopsResult(expression(self.macs, 'MACs'), expression(self.params, 'parameters'))
