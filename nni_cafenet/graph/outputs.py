"""Which outputs of a model count: the others may change their sizes with the widths."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..errors import OutputsError, truncated
from ..utils import named_tensors_in

__all__ = ['Outputs', 'check_outputs', 'counted_outputs']

Outputs = Sequence[str] | Callable[[Any], Any] | None
"""Names or paths of outputs (``'logits'``, ``'past_key_values[0]'``), a function of the output, or None: the default."""

_BESIDE = frozenset(
    'past_key_values cache hidden_states attentions cross_attentions decoder_hidden_states decoder_attentions '
    'encoder_last_hidden_state encoder_hidden_states encoder_attentions last_hidden_state intermediate_hidden_states '
    'cache_params image_hidden_states mems reshaped_hidden_states text_model_output vision_model_output router_logits '
    'encoder_router_logits decoder_router_logits'.split()
)
"""Fields of a ``ModelOutput`` beside its logits."""


def check_outputs(outputs: Any) -> Outputs:
    """Return ``outputs`` if it is of a form that counts.

    Raises
    ------
    TypeError
        If it is neither a list of names, nor a function, nor None.
    ValueError
        If the list is empty.
    """
    if outputs is None or callable(outputs):
        return outputs  # type: ignore[no-any-return]
    if isinstance(outputs, str) or not isinstance(outputs, Sequence) or not all(isinstance(n, str) for n in outputs):
        raise TypeError(
            f"outputs={outputs!r} must be a list of names or paths, such as ['logits'], or a function of the output."
        )
    if not outputs:
        raise ValueError("outputs=[] names no output. Name at least one, such as outputs=['logits'], or use None.")
    return tuple(outputs)


def counted_outputs(output: Any, outputs: Outputs) -> list[tuple[str, Tensor]]:
    """Return the tensors of a model's output that count, with their paths.

    Raises
    ------
    nni_cafenet.errors.OutputsError
        If an output is named that the model does not return, or none of what counts is a tensor.
    """
    if outputs is None:
        return named_tensors_in(_without_side_outputs(output))
    if not isinstance(outputs, Sequence):
        found = named_tensors_in(outputs(output))
        if not found:
            raise OutputsError(
                'outputs: the function returns no tensor of the output of the model. Return at least one.'
            )
        return found
    found = named_tensors_in(output)
    wanted = [_words(name) for name in outputs]
    for name, words in zip(outputs, wanted):
        if not any(_words(path)[: len(words)] == words for path, _ in found):
            known = truncated(', '.join(path.lstrip('.') or '(the whole output)' for path, _ in found), 300)
            raise OutputsError(f'outputs: the model returns no {name!r}. It returns {known}.')
    return [(path, tensor) for path, tensor in found if any(_words(path)[: len(words)] == words for words in wanted)]


def _without_side_outputs(output: Any) -> Any:
    """Drop caches, hidden states and attention maps that a ``ModelOutput`` of Hugging Face has beside a loss or logits."""
    if not isinstance(output, Mapping) or all(kind.__name__ != 'ModelOutput' for kind in type(output).__mro__):
        return output
    if not any(name == 'loss' or 'logits' in name.replace('router_logits', '') for name in output):
        return output
    return _Fields((name, value) for name, value in output.items() if name not in _BESIDE)


class _Fields(dict[str, Any]):
    """Fields of a ``ModelOutput``."""

    reads_as_attributes = True


def _words(path: str) -> list[str]:
    """Return the steps of a path, however they are written."""
    return re.findall(r"[^.\[\]'\"]+", path)
