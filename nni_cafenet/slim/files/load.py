"""Load slim models from disk with torch alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from torch import nn

from .model_match import mismatches, wrong_sizes
from .outputs import check_outputs
from .saved_files import read_tensors, read_weights, read_widths
from .sizes import contained_sizes, size_attributes
from .tensors import assign_other_tensors, resize_tensors

__all__ = ['PathLike', 'load_slim']

PathLike = str | os.PathLike[str]


def load_slim(
    factory: Callable[[], nn.Module] | nn.Module, path: PathLike, *, weights: bool = True, check: bool = True
) -> nn.Module:
    """Rebuild a saved slim model and verify it. No code from the files runs.

    Parameters
    ----------
    factory
        A factory of the full model, or a full model (which is modified).
    path
        The folder that `save_slim` wrote. In place of ``slim.pt`` it may hold ``slim.safetensors``, as ``nni-cafenet export
        --safetensors`` writes it; that needs the package ``safetensors``.
    weights
        Load the weights; otherwise parameters are uninitialized.
    check
        Compare the outputs on a seeded input to the saved ones (one forward on the CPU). Checksums are always verified.

    Returns
    -------
    The slim model, on the CPU: plain modules of the model's own classes.

    Raises
    ------
    FileNotFoundError
        If the folder lacks one of the files.
    ImportError
        If the weights are in ``slim.safetensors``, and ``safetensors`` is not installed.
    ValueError
        If a file is damaged, the files belong to another model, or the outputs differ; the message lists differences.
    """
    folder = Path(path)
    record = read_widths(folder)
    state = read_weights(folder, record)
    others = read_tensors(folder, 'buffers.pt', record) if 'buffers.pt' in record['files'] else {}
    model = factory if isinstance(factory, nn.Module) else factory()
    problems = [
        *mismatches(model, state, record, others),
        *size_attributes(model, record, state, change=False),
        *contained_sizes(model, record, change=False),
    ]
    if problems:
        more = f' and {len(problems) - 5} more' if len(problems) > 5 else ''
        raise ValueError(
            f'The widths in {folder} belong to another model than {type(model).__name__}: {"; ".join(problems[:5])}{more}. '
            'Give the factory (and its arguments) of the original model.'
        )
    list(size_attributes(model, record, state, change=True))
    list(contained_sizes(model, record, change=True))
    for tensors in ('_parameters', '_buffers'):
        resize_tensors(model, state, tensors)
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module._apply(lambda tensor: tensor)  # recurrent layers keep a list of their weights
    assign_other_tensors(model, others, record.get('unset', []))
    wrong = next(wrong_sizes(model), None)
    if wrong is not None:
        raise ValueError(
            f'{folder / "widths.json"} does not match the weights beside it: {wrong}. Save the network again.'
        )
    if weights:
        model.load_state_dict(state)
        if check and record.get('check') is not None:
            check_outputs(model, record['check'], folder)
    return model
