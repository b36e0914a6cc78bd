"""COCO's metric of detectors: the mean average precision of boxes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from ..errors import MissingExtraError

__all__ = ['BoxPrecision']


class BoxPrecision(MeanAveragePrecision):
    """Box mAP as COCO defines it, between 0 and 1: averaged over categories and overlaps (IoU) of 0.5 to 0.95.

    torchmetrics' `MeanAveragePrecision` with the backend ``faster_coco_eval``, as one number. ``update`` takes the
    detections of torchvision's detectors and targets, one dict per picture, with ``boxes`` (N, 4) and ``labels`` (N,).
    Targets may have ``crowds`` (M, 4) and ``crowd_labels`` (M,) too: detections in them are neither right nor wrong.

    Raises
    ------
    nni_cafenet.errors.MissingExtraError
        If the package of the extra ``detection`` is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec('faster_coco_eval') is None:
            raise MissingExtraError(
                "box mAP needs faster-coco-eval, not installed here: pip install 'nni-cafenet[detection]'"
            )
        super().__init__(backend='faster_coco_eval')
        self.warn_on_many_detections = False  # the best 100 of a picture count, and detectors give more

    def update(self, preds: Sequence[Mapping[str, Tensor]], target: Sequence[Mapping[str, Tensor]]) -> None:
        """Add the detections and targets of a batch."""
        found: list[Any] = [
            {**each, 'boxes': each['boxes'].float(), 'scores': each['scores'].float()} for each in preds
        ]
        super().update(found, [_with_crowds(each) for each in target])

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the mean average precision of all batches; 0 if there are no boxes."""
        value: Tensor = super().compute()['map']
        return value.clamp(min=0)


def _with_crowds(target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    boxes, labels = target['boxes'], target['labels']
    if 'crowds' not in target:
        return {'boxes': boxes, 'labels': labels}
    crowds, crowd_labels = target['crowds'], target['crowd_labels']
    return {
        'boxes': torch.cat([boxes, crowds]),
        'labels': torch.cat([labels, crowd_labels]),
        'iscrowd': torch.cat([torch.zeros_like(labels), torch.ones_like(crowd_labels)]),
    }
