"""The contracts (docs/contracts.md) on every family of models: what the supernet runs is what the slim model is."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import load_slim, save_slim
from nni_cafenet.slicing.selection import Selection, put, take

# fmt: off
FAMILIES = [
    'resnet18', 'resnet50', 'resnext50_32x4d', 'vgg11_bn', 'mobilenet_v2', 'mobilenet_v3_small', 'efficientnet_b0',
    'mnasnet0_5', 'densenet121', 'squeezenet1_1', 'regnet_y_400mf', 'googlenet',
]
# fmt: on
every_family = pytest.mark.parametrize('name', FAMILIES)


def pictures(space, batch: int = 1, dtype=torch.float32) -> torch.Tensor:
    shape = space._example.tensors()[0].shape[1:]
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def outputs(model, x) -> list[torch.Tensor]:
    """All tensors that a model returns (GoogLeNet has three in training); the same dropout every time."""
    torch.manual_seed(0)
    return [leaf for leaf in torch.utils._pytree.tree_leaves(model(x)) if isinstance(leaf, torch.Tensor)]


def distance(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    """The largest difference, relative to the largest value."""
    assert [a.shape for a in left] == [b.shape for b in right]
    return max(
        float((a - b).detach().abs().max() / b.detach().abs().max().clamp_min(1e-30)) for a, b in zip(left, right)
    )


# --- same outputs (docs/contracts.md) -------------------------------------------------------------


@every_family
@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=['f64', 'f32'])
def test_the_supernet_computes_what_the_slim_model_computes(family, draw, name, training, dtype, tolerance):
    space = family(name).to(dtype).train(training)
    x = pictures(space, 4, dtype)
    with torch.no_grad():
        for kind in ('smallest', 'largest', 'random'):
            widths, sets = draw(space, 7, kind)
            slim = space.slim(widths, sets)
            assert slim.training == training
            space.activate(widths, sets)
            assert distance(outputs(space, x), outputs(slim, x)) < tolerance, kind


@every_family
def test_training_statistics_return_to_their_own_channels_only(family, draw, name):
    space = family(name).double().train()
    widths, sets = draw(space, 3)
    slim = space.slim(widths, sets)
    before = {key: buffer.clone() for key, buffer in space.named_buffers()}
    space.activate(widths, sets)
    x = pictures(space, 4, torch.float64)
    with torch.no_grad():
        outputs(space, x), outputs(slim, x)
    positions = Selection(space.graph, sets).positions
    changed = 0
    for key, buffer in slim.named_buffers():
        expected = before[key].clone()
        put(expected, positions.get(key, (None,) * expected.dim()), buffer)
        torch.testing.assert_close(dict(space.named_buffers())[key], expected, rtol=1e-9, atol=1e-9)
        changed += int(not torch.equal(expected, before[key]))
    if name != 'squeezenet1_1':  # the one family without batch normalization
        assert changed > 10


@pytest.mark.parametrize('name', ['resnet18', 'resnext50_32x4d', 'mobilenet_v3_small', 'squeezenet1_1', 'googlenet'])
def test_gradients_are_those_of_the_slim_model_and_zero_elsewhere(family, draw, name):
    space = family(name).double().train()
    widths, sets = draw(space, 5)
    slim = space.slim(widths, sets)
    x = pictures(space, 4, torch.float64)
    space.activate(widths, sets)
    for model in (space, slim):
        sum(output.square().sum() for output in outputs(model, x)).backward()
    positions = Selection(space.graph, sets).positions
    own = dict(space.named_parameters())
    for key, parameter in slim.named_parameters():
        where = positions.get(key, (None,) * parameter.dim())
        gradient = own[key].grad
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(take(gradient, where), parameter.grad, rtol=1e-9, atol=1e-9 * scale)
        rest = gradient.clone()
        put(rest, where, torch.zeros_like(parameter))
        assert not rest.any(), key


@every_family
def test_channels_in_another_order_compute_the_same(family, same_in_any_order, name):
    space = family(name).double()
    same_in_any_order(space, pictures(space, 3, torch.float64))


# --- exact costs ----------------------------------------------------------------------------------


@every_family
def test_macs_and_parameters_are_those_that_torch_counts(family, draw, name):
    space = family(name)
    x = pictures(space)
    drawn = [draw(space, seed, kind)[0] for seed, kind in enumerate(['one', 'smallest', 'largest', 'random', 'random'])]
    rows = np.array([[widths[label] for label in space.labels] for widths in drawn])
    assert space.macs(rows).tolist() == [space.macs(widths) for widths in drawn]
    assert space.params(rows).tolist() == [space.params(widths) for widths in drawn]
    for widths in drawn:
        slim = space.slim(widths)
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            slim(x)
        assert space.macs(widths) == counter.get_total_flops() / 2


# --- plain slim models, original names ------------------------------------------------------------


@every_family
def test_names_and_shapes_are_the_models_own(family, family_factory, draw, name):
    space = family(name)
    own = {key: tensor.shape for key, tensor in family_factory(name)().state_dict().items()}
    assert {key: tensor.shape for key, tensor in space.state_dict().items()} == own
    space.activate(*draw(space, 2))
    assert {key: tensor.shape for key, tensor in space.state_dict().items()} == own


@every_family
def test_the_analysis_leaves_only_inputs_and_outputs_fixed(family, name):
    fixed = {record.label: record.reason for record in family(name).graph.fixed}
    heads = {'googlenet': ['aux1.fc2', 'aux2.fc2', 'fc']}.get(name)
    named = ['', ' (.aux_logits1)', ' (.aux_logits2)'] if name == 'googlenet' else ['']
    assert set(fixed.values()) == {f'is an output of the model{path}' for path in named}
    assert heads is None or sorted(fixed) == heads


@every_family
def test_slim_models_are_plain_pickle_and_load_from_disk(family, family_factory, draw, name, tmp_path):
    space = family(name)
    widths, sets = draw(space, 11)
    slim = space.slim(widths, sets)
    assert not [type(module) for module in slim.modules() if type(module).__module__.startswith('nni')]
    assert [type(module) for module in slim.modules()] == [type(module) for module in space.full_model.modules()]
    expected = outputs(slim, pictures(space, 2))
    assert distance(outputs(pickle.loads(pickle.dumps(slim)), pictures(space, 2)), expected) == 0
    save_slim(slim, tmp_path, widths)
    loaded = load_slim(family_factory(name), tmp_path).eval()
    assert distance(outputs(loaded, pictures(space, 2)), expected) == 0
    for key, module in slim.named_modules():  # also what the modules say of themselves
        assert loaded.get_submodule(key).extra_repr() == module.extra_repr()


def test_what_modules_say_of_their_sizes_is_true(family, draw):
    for name in FAMILIES:
        space = family(name)
        for key, module in space.slim(*draw(space, 1)).named_modules():
            if isinstance(module, torch.nn.Conv2d):
                shape = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
                assert tuple(module.weight.shape) == shape, (name, key)
            elif isinstance(module, torch.nn.Linear):
                assert tuple(module.weight.shape) == (module.out_features, module.in_features), (name, key)
            elif isinstance(module, torch.nn.BatchNorm2d):
                assert module.weight.shape == module.running_mean.shape == (module.num_features,), (name, key)


@pytest.mark.parametrize('name', ['resnet18', 'mobilenet_v2', 'squeezenet1_1'])
@pytest.mark.filterwarnings('ignore:.*torch.jit.*:FutureWarning')
def test_slim_models_script(family, draw, name):
    space = family(name)
    slim = space.slim(*draw(space, 4))
    x = pictures(space, 2)
    assert distance(outputs(torch.jit.script(slim), x), outputs(slim, x)) < 1e-5


@pytest.mark.parametrize('name', ['squeezenet1_1', 'mobilenet_v3_small'])
def test_slim_models_export_to_onnx(family, draw, name, tmp_path):
    for needed in ('onnx', 'onnxscript'):
        pytest.importorskip(needed)
    runtime = pytest.importorskip('onnxruntime')
    space = family(name)
    slim = space.slim(*draw(space, 6))
    x = pictures(space)
    path = str(tmp_path / 'slim.onnx')
    torch.onnx.export(slim, (x,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    (result,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert distance([torch.from_numpy(result)], outputs(slim, x)) < 1e-4


LOAD_ALONE = """
import importlib.util, sys, torch, torchvision
spec = importlib.util.spec_from_file_location('slim_files', sys.argv[1])
slim_files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(slim_files)
for folder in sys.argv[2:]:
    name, x, expected = torch.load(folder + '/expected.pt')
    slim = slim_files.load_slim(lambda: getattr(torchvision.models, name)(num_classes=10), folder).eval()
    with torch.no_grad():
        assert torch.equal(slim(x), expected), name
assert not [name for name in sys.modules if name.partition('.')[0] in ('nni', 'nni_cafenet')]
print('loaded', len(sys.argv[2:]))
"""


def test_slim_models_load_with_torch_alone(family, draw, tmp_path):
    from nni_cafenet.slim import joined_loader

    folders = []
    for name in ('resnext50_32x4d', 'mobilenet_v2', 'densenet121'):
        space = family(name)
        widths, sets = draw(space, 9)
        folder = tmp_path / name
        slim = space.save_slim(folder, widths, sets)
        x = pictures(space, 2)
        torch.save((name, x, outputs(slim, x)[0].detach()), folder / 'expected.pt')
        folders.append(str(folder))
    (tmp_path / 'slim_files.py').write_text(joined_loader())
    file = str(tmp_path / 'slim_files.py')
    command = [sys.executable, '-W', 'error::ImportWarning', '-c', LOAD_ALONE, file, *folders]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip() == 'loaded 3', done.stderr
