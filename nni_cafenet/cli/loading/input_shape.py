"""Inputs of a model as shapes, written on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ['InputShape', 'example_of']


@dataclass(frozen=True)
class InputShape:
    """One input of a model: its sizes with that of the batch first, and the kind of its values.

    ``'float'`` are seeded normal values in the floating-point type of the model; ``'int64'`` zeros and ones, such as
    the indices of an embedding; ``'bool'`` all true, such as a mask.
    """

    sizes: tuple[int, ...]
    kind: str = 'float'

    KINDS = ('float', 'int64', 'bool')

    @classmethod
    def read(cls, words: Sequence[str]) -> InputShape:
        """Read the words of a shape: sizes, then optionally a kind; a ValueError for any other word.

        >>> InputShape.read(['1', '3', '224', '224'])
        InputShape(sizes=(1, 3, 224, 224), kind='float')
        >>> InputShape.read(['1', '128', 'int64']).kind
        'int64'
        """
        *sizes, last = words
        kind = last if last in cls.KINDS else 'float'
        sizes = sizes if last in cls.KINDS else list(words)
        for word in sizes:
            if not (word.isascii() and word.isdigit() and int(word) > 0):
                raise ValueError(
                    f'--input {" ".join(words)}: {word!r} is not a size. Write sizes with spaces, the batch first, such as '
                    f'--input 1 3 224 224; {" or ".join(cls.KINDS[1:])} may follow. The model comes before --input.'
                )
        if not sizes:
            raise ValueError(f'--input {last}: the sizes are missing, such as --input 1 128 {last}')
        return cls(tuple(int(word) for word in sizes), kind)

    def __str__(self) -> str:
        return f'{self.sizes}' if self.kind == 'float' else f'{self.sizes} {self.kind}'


def example_of(shapes: Sequence[InputShape], model: nn.Module) -> tuple[Any, ...]:
    """Make the positional arguments of a call of a model, on its device; the same at every call."""
    import torch

    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    make = {
        'float': lambda sizes: torch.randn(sizes, generator=generator).to(parameter.dtype),
        'int64': lambda sizes: torch.randint(0, 2, sizes, generator=generator),
        'bool': lambda sizes: torch.ones(sizes, dtype=torch.bool),
    }
    return tuple(make[shape.kind](shape.sizes).to(parameter.device) for shape in shapes)
