"""Scikit-learn's handwritten digits: real images without a download."""

from __future__ import annotations

from typing import Literal

import torch
from torch.utils.data import TensorDataset

__all__ = ['digits']

_TEST_IMAGES = 600
_SPLIT_SEED = 0


def digits(split: Literal['train', 'test'] = 'train') -> TensorDataset:
    """Scikit-learn's handwritten digits: 1797 real images of 8x8 pixels, without a download.

    Parameters
    ----------
    split
        `'train'`: 1197 images, or `'test'`: the other 600. The parts never change, and have every digit in the same
        proportions.

    Returns
    -------
    torch.utils.data.TensorDataset
        Images of shape (1, 8, 8), float32, standardized so that training pixels have mean 0 and standard deviation 1;
        labels 0 to 9, int64.
    """
    if split not in ('train', 'test'):
        raise ValueError(f"split must be 'train' or 'test', not {split!r}")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        pixels, labels, test_size=_TEST_IMAGES, stratify=labels, random_state=_SPLIT_SEED
    )
    chosen, chosen_labels = (train, train_labels) if split == 'train' else (test, test_labels)
    standard = (chosen - train.mean()) / train.std()
    images = torch.from_numpy(standard).float().view(-1, 1, 8, 8)
    return TensorDataset(images, torch.from_numpy(chosen_labels).long())
