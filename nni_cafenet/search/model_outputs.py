"""Record a model's outputs in a step, scale its logits by a temperature, and replay them without a forward."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

__all__ = ['Logits', 'recorded_outputs', 'replayed_outputs']

Change = Callable[[int, Any], Any]
"""``(number of the call, output) -> replacement for the caller``."""


@dataclass(frozen=True)
class Logits:
    """Which tensors of a model's outputs are logits.

    ``places`` are pairs of the number of the model's call in a step and that of the leaf in its output; ``leaves`` are
    the numbers of leaves of the calls.
    """

    places: frozenset[tuple[int, int]]
    leaves: tuple[int, ...]

    def divided(self, call: int, output: Any, temperature: float) -> Any:
        """Return the output of a call with its logits divided by a temperature.

        Raises ValueError if the step calls the model otherwise than on the batch in which the logits were found.
        """
        leaves, structure = tree_flatten(output)
        if call >= len(self.leaves) or len(leaves) != self.leaves[call]:
            raise ValueError(
                'temperature: the step calls the model differently from batch to batch, so its logits cannot be '
                'followed. Use temperature=1.'
            )
        changed = [leaf / temperature if (call, index) in self.places else leaf for index, leaf in enumerate(leaves)]
        return tree_unflatten(changed, structure)


@contextlib.contextmanager
def recorded_outputs(model: nn.Module, change: Change | None = None) -> Iterator[list[Any]]:
    """Yield a list that receives the output of each call of a model, as the model returned it.

    Callers, also of ``model.forward``, get what ``change`` makes of it.
    """
    outputs: list[Any] = []
    forward = model.forward

    def recording(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        outputs.append(output)
        return output if change is None else change(len(outputs) - 1, output)

    with _forward_is(model, recording):
        yield outputs


@contextlib.contextmanager
def replayed_outputs(model: nn.Module, outputs: Sequence[Any], change: Change | None = None) -> Iterator[None]:
    """Return recorded outputs, in order, from calls of a model without running it."""
    number = 0

    def replaying(*args: Any, **kwargs: Any) -> Any:
        nonlocal number
        if number == len(outputs):
            raise ValueError(
                'temperature: the step calls the model a different number of times when it is repeated on the same '
                'batch. Use temperature=1.'
            )
        output = outputs[number]
        number += 1
        return output if change is None else change(number - 1, output)

    with _forward_is(model, replaying):
        yield


@contextlib.contextmanager
def _forward_is(model: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    own = vars(model)
    before = own.get('forward')
    own['forward'] = forward
    try:
        yield
    finally:
        if before is None:
            del own['forward']
        else:
            own['forward'] = before


def floating_leaves(output: Any) -> tuple[list[Any], Any, list[int]]:
    """Return the leaves of an output, its structure, and which leaves are tensors of floating-point numbers."""
    leaves, structure = tree_flatten(output)
    return (
        leaves,
        structure,
        [i for i, each in enumerate(leaves) if isinstance(each, Tensor) and each.is_floating_point()],
    )
