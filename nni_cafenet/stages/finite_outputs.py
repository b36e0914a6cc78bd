"""A check that a trained network has finite weights and outputs."""

from __future__ import annotations

import copy
import logging

import torch
from torch import nn

from ..errors import first_line
from ..graph import ExampleInput
from ..slicing import using_mode
from ..utils import seeded, tensors_in

__all__ = ['computes_numbers']

_logger = logging.getLogger(__name__)


def computes_numbers(model: nn.Module, example: ExampleInput | None) -> bool:
    """Whether parameters, buffers and outputs are finite, in evaluation mode on the CPU.

    Without an example, outputs are not checked. A network whose check raises (one that needs a GPU) passes with a
    warning.
    """
    try:
        return _computes_numbers(model, example)
    except Exception as error:  # noqa: BLE001 - the user's model: whatever it raises
        _logger.warning('The outputs of a trained network could not be checked: %s', first_line(error))
        return True


def _computes_numbers(model: nn.Module, example: ExampleInput | None) -> bool:
    if any(each.device.type != 'cpu' for each in model.parameters()):
        model = copy.deepcopy(model).cpu()
    tensors = [*model.parameters(), *model.buffers()]
    if any(each.is_floating_point() and bool(torch.isnan(each).any()) for each in tensors):
        return False  # infinity may be a mask
    if example is None:
        return True
    brought = example.to_model(model).fresh()  # an example may be of another precision than the training
    with torch.no_grad(), using_mode(model, training=False), seeded(0):
        outputs = tensors_in(model(*brought.args, **brought.kwargs))
    return all(bool(torch.isfinite(each).all()) for each in outputs)
