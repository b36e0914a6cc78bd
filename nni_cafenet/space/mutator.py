"""`WidthMutator`: width spaces of existing models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..graph import LayerPattern, Outputs
from ..utils import check_flag, check_instance
from .bins import Bins
from .divisors import Divisor, check_divisor
from .ratios import Ratio
from .width_space import WidthSpace

__all__ = ['WidthMutator']


class WidthMutator:
    """Builds width spaces of models.

    Parameters
    ----------
    bins, include, exclude, min_ratio, max_ratio, divisor, verify, outputs
        See `WidthSpace`.

    Examples
    --------
    >>> mutator = WidthMutator(bins=FlopsSensitiveBins(min_bin=1, max_bin=32), exclude=['fc'])
    >>> space = mutator.mutate(torchvision.models.resnet18, num_classes=10, example_input=(1, 3, 64, 64))
    """

    def __init__(
        self,
        *,
        bins: Bins | None = None,
        include: Sequence[LayerPattern] | None = None,
        exclude: Sequence[LayerPattern] | None = None,
        min_ratio: Ratio = 0.1,
        max_ratio: Ratio = 1.0,
        divisor: Divisor = 1,
        verify: bool = True,
        outputs: Outputs = None,
    ) -> None:
        if bins is not None:
            check_instance('bins', bins, Bins, 'FlopsSensitiveBins(min_bin=1, max_bin=32)')
        self.options: dict[str, Any] = {
            'bins': bins,
            'include': include,
            'exclude': exclude,
            'min_ratio': min_ratio,
            'max_ratio': max_ratio,
            'divisor': check_divisor(divisor),
            'verify': check_flag('verify', verify),
            'outputs': outputs,
        }

    def mutate(
        self, model: Any, *args: Any, example_input: Any, sample: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> WidthSpace:
        """Build the width space of a model.

        Parameters
        ----------
        model
            An ``nn.Module``, which the space then owns, or a factory.
        args, kwargs
            Arguments of the factory.
        example_input
            Arguments of one forward (see `WidthSpace`).
        sample
            If the model is an NNI model space: values of its choices (see `WidthSpace`).

        Returns
        -------
        The space, at full width.
        """
        return WidthSpace(model, args, kwargs, example_input=example_input, sample=sample, **self.options)
