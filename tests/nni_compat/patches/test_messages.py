from __future__ import annotations

import json

import nni
import pytest
from nni.common.serializer import is_traceable
from torch.utils.data import TensorDataset

from nni_cafenet.nni_compat.patches import patch_nni

patch_nni()


class Texts(TensorDataset):
    pass


def texts():
    return Texts()


@pytest.mark.parametrize('text', ['data//train', 'https://example.org', 'layer #1', 'a "quoted" // word'])
def test_messages_are_read_whole(text):
    message = text
    for _ in range(3):  # a trial's parameters, in what NNI tells of it, in the message
        message = json.dumps({'content': message})
        assert nni.load(message) == json.loads(message)


def test_what_nni_does_as_released():
    message = json.dumps({'content': json.dumps({'content': json.dumps({'content': '#'})})})
    with pytest.raises(json.JSONDecodeError):
        nni.load(message, ignore_comments=True)


def test_a_traced_function_leaves_other_objects_of_the_class_alone():
    made, other = nni.trace(texts)(), Texts()
    assert is_traceable(made)
    assert made.trace_symbol is texts
    assert not is_traceable(other)
    assert nni.load(nni.dump(other)).tensors == ()
    with pytest.raises(AttributeError, match='not made by a traced function'):
        other.trace_kwargs
