"""Trained weights out of files."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from nni_cafenet.cli.loading.weights import find_weights, put_weights, read_weights
from nni_cafenet.errors import MissingExtraError, WeightsError


def make(classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, classes))


@pytest.fixture
def state():
    return make().state_dict()


@pytest.mark.parametrize('wrapper', [None, 'state_dict', 'model', 'model_state_dict'])
@pytest.mark.parametrize('prefix', ['', 'module.', 'model._orig_mod.module.'])
def test_wrapped_and_prefixed_weights(tmp_path, state, wrapper, prefix):
    kept = {f'{prefix}{key}': value for key, value in state.items()}
    torch.save(kept if wrapper is None else {wrapper: kept, 'epoch': 3, 'args': ['x']}, tmp_path / 'w.pt')
    model = make()
    assert put_weights(model, find_weights(str(tmp_path / 'w.pt')).state, 'w.pt') == ''
    assert all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


def test_tensors_of_a_lightning_module_beside_the_model_are_left_out_and_listed(state):
    kept = {f'model.{key}': value for key, value in state.items()}
    kept.update({'loss.weight': torch.ones(3), 'teacher.0.weight': state['0.weight']})
    model = make()
    assert put_weights(model, kept, 'w.ckpt') == 'left out, not of the model: loss.weight, teacher.0.weight'
    assert torch.equal(model[0].weight, state['0.weight'])


def test_the_count_of_an_averaged_model_is_left_out(state):
    averaged = torch.optim.swa_utils.AveragedModel(make())
    assert put_weights(make(), averaged.state_dict(), 'w.pt') == 'left out, not of the model: n_averaged'


def test_any_prefix_under_which_the_whole_model_fits_and_only_one(state):
    own = {f'student.{key}': value for key, value in state.items()}
    assert put_weights(make(), own, 'w.pt') == ''
    both = {**own, **{f'teacher.{key}': value for key, value in state.items()}}
    with pytest.raises(WeightsError, match='choose one: --weights-key student or teacher'):
        put_weights(make(), both, 'w.pt')
    several = {**both, **{f'model.{key}': value + 1 for key, value in state.items()}}
    model = make()
    put_weights(model, several, 'w.pt')
    assert torch.equal(model[0].weight, state['0.weight'] + 1)
    with pytest.raises(WeightsError, match='missing in the file'):
        put_weights(make(), {f'student.{key}': value for key, value in make(7).state_dict().items()}, 'w.pt')


@pytest.mark.parametrize('average', ['ema', 'model_ema', 'state_dict_ema'])
def test_a_moving_average_is_taken_and_said(tmp_path, state, average):
    path = str(tmp_path / 'w.pt')
    averaged = {f'module.{key}': value + 1 for key, value in state.items()}
    torch.save({'epoch': 3, 'model': state, average: averaged, 'optimizer': {'state': {}}}, path)
    found = find_weights(path)
    assert found.note == f"taken: '{average}'; there are also 'model' (--weights-key)"
    assert torch.equal(found.state['module.0.weight'], state['0.weight'] + 1)
    chosen = find_weights(path, key='model')
    assert torch.equal(chosen.state['0.weight'], state['0.weight'])
    with pytest.raises(
        WeightsError, match=f"--weights-key 'best' holds no tensors by name; keys that do: .*'{average}'"
    ):
        find_weights(path, key='best')


def test_a_key_may_be_in_a_key_or_a_prefix(tmp_path, state):
    torch.save({'ema': {'module': state, 'decay': 0.9}}, tmp_path / 'w.pt')
    assert find_weights(str(tmp_path / 'w.pt'), key='ema.module').state.keys() == state.keys()
    torch.save({f'teacher.{key}': value for key, value in state.items()}, tmp_path / 'w.pt')
    assert find_weights(str(tmp_path / 'w.pt'), key='teacher').state.keys() == state.keys()


def test_whole_models_with_consent(tmp_path, state):
    model = make()
    torch.save({'model': model, 'epoch': 1}, tmp_path / 'w.pt')
    with pytest.raises(WeightsError, match='if you trust its source, add --unpickle'):
        find_weights(str(tmp_path / 'w.pt'))
    found = find_weights(str(tmp_path / 'w.pt'), unpickle=True)
    assert torch.equal(found.state['0.weight'], model[0].weight)
    torch.save(model, tmp_path / 'w.pt')
    assert find_weights(str(tmp_path / 'w.pt'), unpickle=True).state.keys() == state.keys()


def test_safetensors(tmp_path, state):
    safetensors = pytest.importorskip('safetensors.torch')
    safetensors.save_file(state, tmp_path / 'w.safetensors')
    found = find_weights(str(tmp_path / 'w.safetensors'))
    assert all(torch.equal(found.state[key], value) for key, value in state.items())
    (tmp_path / 'w.safetensors').write_bytes(b'x' * 20)
    with pytest.raises(WeightsError, match='is damaged'):
        find_weights(str(tmp_path / 'w.safetensors'))


def test_a_prefix_that_is_the_models_own_stays(state):
    model = nn.ModuleDict({'model': make()})
    put_weights(model, {f'model.{key}': value for key, value in state.items()}, 'w.pt')
    assert torch.equal(model['model'][0].weight, state['0.weight'])


def test_counts_of_batches_may_be_missing(state):
    put_weights(make(), {key: value for key, value in state.items() if 'num_batches' not in key}, 'w.pt')


def test_keys_that_do_not_fit_are_listed_and_nothing_is_changed(state):
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wrong = {key: value for key, value in state.items() if key != '0.bias'}
    wrong['4.weight'] = torch.zeros(2)
    wrong['1.weight'] = torch.zeros(5)
    with pytest.raises(WeightsError) as error:
        put_weights(model, wrong, 'w.pt')
    text = str(error.value)
    assert "weights 'w.pt': do not fit Sequential, of whose 9 keys 7 fit:" in text
    assert 'other shapes (1):\n    1.weight (5,), in the model (4,)' in text
    assert 'missing in the file (1):\n    0.bias' in text
    assert 'only in the file (1):\n    4.weight' in text
    assert '--model-args' in text
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_another_number_of_classes_is_told_how_to_be_mended():
    with pytest.raises(WeightsError, match=r'3.weight \(5, 16\), in the model \(3, 16\)[\s\S]*by --classes'):
        put_weights(make(), make(5).state_dict(), 'w.pt')


def test_long_lists_are_cut_short():
    many = {f'layer{number}': torch.zeros(1) for number in range(30)}
    with pytest.raises(WeightsError, match=r'only in the file \(30\):[\s\S]*layer7\n    and 22 more'):
        put_weights(make(), many, 'w.pt')


def test_files_without_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save([1, 2], 'list.pt')
    torch.save({'epoch': 3}, 'dict.pt')
    torch.save(make(), 'whole.pt')
    torch.save(make().state_dict(), 'cut.pt')
    (tmp_path / 'cut.pt').write_bytes((tmp_path / 'cut.pt').read_bytes()[:500])
    (tmp_path / 'empty.pt').write_bytes(b'')
    (tmp_path / 'text.pt').write_text('a text')
    for name, says in {
        'list.pt': 'holds a list, not tensors by name',
        'dict.pt': "holds a dict of 'epoch', not tensors by name",
        'whole.pt': 'reading it runs code.*torch.save\\(model.state_dict',
        'cut.pt': 'is damaged, or not a file of torch.save',
        'empty.pt': 'is damaged',
        'text.pt': 'is damaged, or not a file of torch.save',
        'missing.pt': 'the file is not there; check the path',
        '.': 'the file is a folder',
    }.items():
        with pytest.raises(WeightsError, match=says):
            read_weights(name)


def test_safetensors_need_their_package(tmp_path, monkeypatch):
    (tmp_path / 'w.safetensors').write_bytes(b'')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    with pytest.raises(MissingExtraError, match=r'pip install .nni-cafenet\[safetensors\]'):
        read_weights(str(tmp_path / 'w.safetensors'))


def test_names_of_torchvisions_weights(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', refuse)
    monkeypatch.setattr('torchvision.models._api.load_state_dict_from_url', refuse)
    with pytest.raises(WeightsError, match=r'downloading https://.*resnet18.* failed \(no network\)'):
        find_weights('IMAGENET1K_V1', torchvision_name='resnet18')
    with pytest.raises(
        WeightsError, match='no such file, and no weights of resnet18; torchvision has IMAGENET1K_V1, DEFAULT'
    ):
        find_weights('IMAGENET1K', torchvision_name='resnet18')
