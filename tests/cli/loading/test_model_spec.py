"""Models and example inputs as words."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch
import torchvision
from torch import nn

from nni_cafenet.cli.loading.input_shape import InputShape, example_of
from nni_cafenet.cli.loading.model_spec import load_model, takes_argument, torchvision_name
from nni_cafenet.errors import ModelSpecError

CODE = """\
from torch import nn

live = nn.Linear(2, 3)
number = 3


class Net(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*(layers or [nn.Linear(4, 2)]))

    @classmethod
    def wide(cls):
        return cls(nn.Linear(4, 8))


def small():
    return Net()


def sized(width, *, depth):
    return Net()


def text():
    return 'a model'


def broken():
    raise KeyError('no such layer')
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    modules = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - modules:
        home = getattr(sys.modules[name], '__file__', None) or ''
        if name.startswith('my_') or str(tmp_path) in home:
            del sys.modules[name]


@pytest.fixture
def code(folder):
    """A package and a file with the same code."""
    (folder / 'my_package').mkdir()
    (folder / 'my_package' / '__init__.py').write_text('')
    (folder / 'my_package' / 'nets.py').write_text(CODE)
    (folder / 'elsewhere').mkdir()
    (folder / 'elsewhere' / 'my_file.py').write_text(CODE)
    return folder


# --- code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('place', ['my_package.nets', 'elsewhere/my_file.py'])
def test_factories_classes_methods_and_live_modules(code, place):
    assert load_model(f'{place}:small')[0].out_features == 2
    assert type(load_model(f'{place}:Net')).__name__ == 'Net'
    assert load_model(f'{place}:Net.wide')[0].out_features == 8
    live = load_model(f'{place}:live')
    assert isinstance(live, nn.Linear)


@pytest.mark.parametrize('place', ['my_package.nets', 'elsewhere/my_file.py'])
@pytest.mark.parametrize(
    ('name', 'says'),
    [
        ('smal', r"has no 'smal'; did you mean 'small'"),
        ('Net.wode', r"Net has no 'wode'; did you mean 'wide'"),
        ('zzz', r"has no 'zzz'; it has 'Net', 'small', 'sized', 'text', 'broken'"),
        ('', 'names no object in it; write a name after the colon'),
        ('sized', r'needs arguments \(width, depth\); name a function without arguments'),
        ('text', 'returned a str; it must return a torch.nn.Module'),
        ('number', 'is a int; name a torch.nn.Module'),
        ('broken', r"calling it raised KeyError: 'no such layer' \(.*, line 29\)"),
    ],
)
def test_wrong_names(code, place, name, says):
    with pytest.raises(ModelSpecError, match=says) as error:
        load_model(f'{place}:{name}')
    assert repr(f'{place}:{name}') in str(error.value)


@pytest.mark.parametrize('place', ['my_package.nets', 'elsewhere/my_file.py'])
def test_arguments_reach_the_factory_and_are_checked(code, place):
    assert load_model(f'{place}:sized', arguments={'width': 3, 'depth': 2})[0].out_features == 2
    assert takes_argument(f'{place}:sized', 'width')
    assert not takes_argument(f'{place}:sized', 'num_classes')
    with pytest.raises(ModelSpecError, match=r"takes no argument 'widht'; did you mean 'width'\?"):
        load_model(f'{place}:sized', arguments={'widht': 3, 'depth': 2})
    with pytest.raises(ModelSpecError, match=r'needs arguments \(depth\).*--model-args depth=\.\.\.'):
        load_model(f'{place}:sized', arguments={'width': 3})
    with pytest.raises(ModelSpecError, match='is a model, which takes no arguments'):
        load_model(f'{place}:live', arguments={'width': 3})


def test_a_module_that_is_not_there(folder):
    with pytest.raises(ModelSpecError, match=r"there is no module 'my_missing'; install it, or run the command in"):
        load_model('my_missing.nets:small')


def test_a_module_that_does_not_import(folder):
    (folder / 'my_broken.py').write_text('import my_missing_dependency\n')
    with pytest.raises(ModelSpecError, match=r'importing my_broken raised ModuleNotFoundError.*my_missing_dependency'):
        load_model('my_broken:small')
    (folder / 'my_script.py').write_text('import sys\n\nsys.exit(3)\n')
    with pytest.raises(ModelSpecError, match=r'importing my_script raised SystemExit: 3 \(.*my_script.py, line 3\)'):
        load_model('my_script:small')
    (folder / 'my_typo.py').write_text('x = 1\ndef (:\n')
    with pytest.raises(ModelSpecError, match=r'running my_typo.py raised SyntaxError.*my_typo.py, line 2'):
        load_model('my_typo.py:small')
    assert 'my_typo' not in sys.modules


def test_a_file_finds_its_neighbors_and_the_working_directory(folder):
    (folder / 'nets').mkdir()
    (folder / 'nets' / 'my_blocks.py').write_text('WIDTH = 5\n')
    (folder / 'my_sizes.py').write_text('IN = 3\n')
    (folder / 'nets' / 'my_net.py').write_text(
        'from my_blocks import WIDTH\nfrom my_sizes import IN\nfrom torch import nn\n\n\ndef net():\n'
        '    return nn.Linear(IN, WIDTH)\n'
    )
    made = load_model('nets/my_net.py:net')
    assert (made.in_features, made.out_features) == (3, 5)


def test_a_file_is_read_again_when_it_changed_and_never_takes_the_place_of_a_module(folder):
    path = folder / 'my_net.py'
    for width in (2, 13):
        path.write_text(f'from torch import nn\n\n\ndef net():\n    return nn.Linear(3, {width})\n')
        assert load_model('my_net.py:net').out_features == width
    torch_before = sys.modules['torch']
    (folder / 'torch.py').write_text('from torch import nn\n\n\ndef net():\n    return nn.Linear(3, 4)\n')
    assert load_model('torch.py:net').out_features == 4
    assert sys.modules['torch'] is torch_before


def test_a_relative_import_in_a_file(folder):
    (folder / 'my_part.py').write_text('from .other import Net\n')
    with pytest.raises(ModelSpecError, match="relative import.*write 'package.module:factory'"):
        load_model('my_part.py:Net')


@pytest.mark.parametrize(
    ('spec', 'says'),
    [
        ('my_net.py', "write 'my_net.py:FACTORY'"),
        ('missing.py:net', 'there is no file missing.py; check the path'),
        ('missing.pt', 'there is no file missing.pt'),
        ('./missing', 'there is no file missing'),
        ('a b:c', 'is not a name of a model'),
    ],
)
def test_files_and_words_that_name_nothing(folder, spec, says):
    (folder / 'my_net.py').write_text('')
    with pytest.raises(ModelSpecError, match=says):
        load_model(spec)


# --- torchvision ----------------------------------------------------------------------------------


def test_a_torchvision_name():
    made = load_model('SqueezeNet1_1')
    assert isinstance(made, torchvision.models.SqueezeNet)


@pytest.mark.parametrize('spec', ['squeezenet1_1', 'torchvision.models:squeezenet1_1'])
def test_a_torchvision_model_with_arguments(spec):
    assert torchvision_name(spec) == 'squeezenet1_1'
    assert takes_argument(spec, 'num_classes')
    assert load_model(spec, arguments={'num_classes': 7}).classifier[1].out_channels == 7
    with pytest.raises(ModelSpecError, match="calling it raised TypeError.*'widht'"):
        load_model(spec, arguments={'widht': 7})


def test_two_models_of_torchvision_have_functions_of_one_name():
    assert torchvision_name('torchvision.models:resnet18') == 'resnet18'
    assert torchvision_name('torchvision.models.quantization:resnet18') == 'quantized_resnet18'
    assert torchvision_name('torchvision.models.missing:resnet18') is None


def test_other_names_are_not_torchvisions(code):
    assert [torchvision_name(spec) for spec in ('my_package.nets:small', 'resnet51', 'net.py:resnet18')] == [None] * 3


@pytest.mark.parametrize('name', ['lraspp_mobilenet_v3_large', 'ssdlite320_mobilenet_v3_large'])
def test_segmentation_and_detection_download_no_backbone(monkeypatch, name):
    def refuse(*args, **kwargs):
        raise AssertionError('a download')

    monkeypatch.setattr(torch.hub, 'load_state_dict_from_url', refuse)
    assert any(part.startswith('backbone') for part, _ in load_model(name).named_children())


def test_googlenet_skips_its_own_slow_initialization(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('slow initialization')

    monkeypatch.setattr(nn.init, 'trunc_normal_', refuse)
    with warnings.catch_warnings():
        warnings.simplefilter('error', FutureWarning)
        assert load_model('googlenet').aux1 is not None


@pytest.mark.parametrize(
    ('name', 'says'),
    [
        ('resnet51', "did you mean 'resnet50'"),
        ('mobilnet_v2', "did you mean 'mobilenet_v2'"),
        ('zzzzzz', r'list them by torchvision.models.list_models\(\)'),
        ('my_package.nets.small', "put a colon before its name: 'my_package.nets:small'"),
    ],
)
def test_unknown_names_are_told_the_nearest(name, says):
    with pytest.raises(ModelSpecError, match=says):
        load_model(name)


# --- saved models ---------------------------------------------------------------------------------


@pytest.mark.parametrize('zipped', [True, False])
def test_a_pickled_model_is_loaded_only_when_asked_for(folder, zipped):
    torch.save(nn.Sequential(nn.Linear(2, 3)), 'net.pt', _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelSpecError, match='runs the code.*add --unpickle'):
        load_model('net.pt')
    assert load_model('net.pt', unpickle=True)[0].out_features == 3


def test_a_pickled_model_whose_class_is_gone(code):
    net = load_model('my_package.nets:small')
    torch.save(net, 'net.pt')
    text = (code / 'my_package' / 'nets.py').read_text()
    (code / 'my_package' / 'nets.py').write_text(text.replace('class Net', 'class Other').replace('Net()', 'Other()'))
    del sys.modules['my_package.nets']
    with pytest.raises(ModelSpecError, match=r'the code of its classes must be importable\) raised AttributeError'):
        load_model('net.pt', unpickle=True)


def test_a_pickled_model_finds_its_class_in_the_working_directory(code):
    torch.save(load_model('my_package.nets:small'), 'net.pt')
    for name in ('my_package', 'my_package.nets'):
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry not in ('', str(code))]
    assert type(load_model('net.pt', unpickle=True)).__name__ == 'Net'


@pytest.mark.parametrize(
    ('obj', 'says'),
    [(nn.Linear(2, 3).state_dict(), r'holds 2 tensors by name \(a state_dict\), not a model'), ([1], 'holds a list')],
)
@pytest.mark.parametrize('unpickle', [True, False])
def test_a_file_without_a_model(folder, obj, says, unpickle):
    torch.save(obj, 'weights.pth')
    with pytest.raises(ModelSpecError, match=says):
        load_model('weights.pth', unpickle=unpickle)


def test_an_exported_program_is_refused_with_a_remedy(folder):
    torch.export.save(torch.export.export(nn.Linear(2, 3), (torch.zeros(1, 2),)), 'net.pt2')
    for name in ('net.pt2', 'net.bin'):
        if name != 'net.pt2':
            (folder / 'net.pt2').rename(name)
        with pytest.raises(ModelSpecError, match='torch.export with fixed widths.*give the code that creates it'):
            load_model(name, unpickle=True)


def test_torchscript_is_refused_with_a_remedy(folder):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.trace(nn.Linear(2, 3), torch.zeros(1, 2)), 'net.pt')
    with pytest.raises(ModelSpecError, match='TorchScript.*give the code that creates it'):
        load_model('net.pt', unpickle=True)


@pytest.mark.filterwarnings('ignore:Detected pickle protocol 5')
@pytest.mark.parametrize('content', [b'', b'words', b'\x80\x02', b'\x80\x05\x95 cut short'])
def test_a_damaged_file(folder, content):
    (folder / 'net.pt').write_bytes(content)
    with pytest.raises(ModelSpecError, match=r"model 'net.pt'"):
        load_model('net.pt', unpickle=True)


# --- inputs ---------------------------------------------------------------------------------------


def test_shapes_are_read_from_words():
    assert InputShape.read(['1', '3', '8', '8']) == InputShape((1, 3, 8, 8))
    assert InputShape.read(['2', '16', 'int64']) == InputShape((2, 16), 'int64')
    assert [str(InputShape.read(words)) for words in (['5'], ['2', 'bool'])] == ['(5,)', '(2,) bool']


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (['1', '3', 'resnet18'], "'resnet18' is not a size.*The model comes before --input"),
        (['1,3,8,8'], "'1,3,8,8' is not a size.*Write sizes with spaces"),
        (['0', '3'], "'0' is not a size"),
        (['-1', '3'], "'-1' is not a size"),
        (['int64', '3'], "'int64' is not a size"),
        (['int64'], 'the sizes are missing'),
    ],
)
def test_bad_shapes(words, says):
    with pytest.raises(ValueError, match=says):
        InputShape.read(words)


def test_inputs_have_the_types_that_were_asked_for():
    shapes = [InputShape((2, 3)), InputShape((2, 3)), InputShape((2, 9), 'int64'), InputShape((4,), 'bool')]
    model = nn.Linear(3, 1).double()
    one, two, indices, mask = example_of(shapes, model)
    assert [tensor.dtype for tensor in (one, two, indices, mask)] == [torch.float64] * 2 + [torch.int64, torch.bool]
    assert not torch.equal(one, two)  # two inputs that are equal would hide what the model does to their difference
    assert set(indices.flatten().tolist()) == {0, 1}
    assert mask.all()
    assert all(torch.equal(before, after) for before, after in zip((one, two, indices), example_of(shapes, model)))
