"""Scikit-learn's digits."""

from __future__ import annotations

from .request import Data, DataRequest

__all__ = ['digits_data']


def digits_data(request: DataRequest) -> Data:
    """Return scikit-learn's digits, with the test split for validation."""
    from ...testing import digits

    train, test = digits('train'), digits('test')
    return Data(
        train=request.loader(train, train=True),
        validate=request.loader(test, train=False),
        shape=(1, 8, 8),
        classes=tuple('0123456789'),
        description=f'{len(train):,} pictures of digits for training and {len(test)} for validation, 8 x 8',
    )
