"""What is loaded is what was saved, or an error; files change nothing but what a slim model may change."""

from __future__ import annotations

import json
import random
import sys

import pytest
import torch
from torch import nn

from nni_cafenet import WidthSpace, load_slim, save_slim
from nni_cafenet.errors import FolderError
from nni_cafenet.slim.saving import _save_with_checksum
from nni_cafenet.testing import SmallResNet
from nni_cafenet.utils.json_records import read_record, write_record

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SCALE = 1.0


class Net(nn.Module):
    """A convolution of 16 channels, between whose relu and head something happens that the ``state_dict`` does not tell."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 10)
        self.start()

    def start(self):
        pass

    def between(self, y):
        return y

    def forward(self, x):
        return self.fc(self.between(self.conv(x).relu()).mean((2, 3)))


class Code(Net):
    """A buffer along the channels."""

    def start(self):
        self.register_buffer('code', torch.linspace(0.5, 2, 16)[:, None, None], persistent=False)

    def between(self, y):
        return y * self.code


class CutCode(Code):
    def between(self, y):
        return y * self.code[: y.shape[1]]


class RandomCode(Code):
    """Another one in every process."""

    def start(self):
        self.register_buffer('code', torch.rand(16, 1, 1), persistent=False)


class CachedCode(Net):
    """Made in the first forward, as a buffer that was None before."""

    def start(self):
        self.register_buffer('code', None, persistent=False)

    def between(self, y):
        if self.code is None or len(self.code) != y.shape[1]:
            self.code = torch.linspace(0.5, 2, y.shape[1])[:, None, None]
        return y * self.code


class LateBuffer(Net):
    """Registered in the first forward."""

    def between(self, y):
        if not hasattr(self, 'mask'):
            self.register_buffer('mask', torch.linspace(0, 1, y.shape[-1]), persistent=False)
        return y * self.mask


class Attribute(Net):
    """A tensor that is no buffer."""

    def start(self):
        self.mask = torch.linspace(0, 1, 8)

    def between(self, y):
        return y * self.mask


class Scaled(Net):
    """A plain number of its own."""

    def start(self):
        self.factor = 1.0

    def between(self, y):
        return y * self.factor


class Constant(Net):
    """A constant of the module of its code."""

    def between(self, y):
        return y * SCALE


class Wide(Net):
    """Keeps its width."""

    def start(self):
        self.width = 16


@pytest.fixture(scope='module')
def slim_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('slim')
    saved(Wide, folder)
    return folder


@pytest.fixture
def sent(slim_folder, tmp_path):
    """A copy of the slim model of `Wide` in the test's folder."""
    for file in slim_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())


def saved(make, folder, change=lambda model: None):
    model = make()
    change(model)
    space = WidthSpace(model, example_input=(1, 3, 8, 8)).eval()
    channels = torch.arange(8, 16)
    slim = space.slim({'conv': 8}, {'conv': channels}) if space.labels else space.slim({})
    widths = {'conv': 8} if space.labels else {}
    return space.save_slim(folder, widths, {'conv': channels} if space.labels else None).eval(), slim


@pytest.mark.parametrize('make', [Code, CutCode, RandomCode, LateBuffer, Attribute])
@pytest.mark.parametrize('called', [False, True])
def test_what_is_in_no_state_dict_comes_back(make, called, tmp_path):
    slim, _ = saved(make, tmp_path, change=(lambda model: model(X)) if called else (lambda model: None))
    loaded = load_slim(make, tmp_path).eval()
    assert torch.equal(loaded(X), slim(X))
    assert list(loaded.state_dict()) == list(slim.state_dict())


@pytest.mark.parametrize('called', [False, True])
def test_a_cache_comes_back(called, tmp_path):
    model = CachedCode().eval()
    expected = model(X) if called else None
    save_slim(model, tmp_path, {}, example_input=(1, 3, 8, 8))
    loaded = load_slim(CachedCode, tmp_path).eval()
    assert (loaded.code is None) is not called
    assert torch.equal(loaded(X), model(X) if expected is None else expected)


def test_a_tensor_that_was_changed_comes_back_as_it_was(tmp_path):
    slim, _ = saved(Attribute, tmp_path, change=lambda model: model.mask.fill_(0.5))
    assert load_slim(Attribute, tmp_path).mask.eq(0.5).all()
    assert torch.equal(load_slim(Attribute, tmp_path).eval()(X), slim(X))


def test_a_changed_number_is_noticed(tmp_path):
    saved(Scaled, tmp_path, change=lambda model: setattr(model, 'factor', 1.2))
    with pytest.raises(ValueError, match='differ from the saved ones.*factory and the code'):
        load_slim(Scaled, tmp_path)
    assert load_slim(Scaled, tmp_path, check=False).factor == 1.0


def test_a_changed_constant_is_noticed(tmp_path, monkeypatch):
    saved(Constant, tmp_path)
    monkeypatch.setattr(sys.modules[__name__], 'SCALE', 0.5)
    with pytest.raises(ValueError, match='differ from the saved ones'):
        load_slim(Constant, tmp_path)


def test_other_settings_of_torch_modules_are_named(tmp_path):
    save_slim(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), tmp_path, {})
    with pytest.raises(ValueError, match=r'1\.eps is 1e-05 in the files and 0\.1 in the model'):
        load_slim(lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=0.1)), tmp_path)


def test_the_type_of_weights_is_that_of_the_files(tmp_path):
    saved(lambda: Net().double(), tmp_path)
    assert {p.dtype for p in load_slim(Net, tmp_path, check=False).parameters()} == {torch.float64}


def test_a_counter_comes_back(tmp_path):
    class Counts(Net):
        def start(self):
            self.calls = 0

    slim = Counts()
    slim.calls = 10**6
    save_slim(slim, tmp_path, {})
    assert load_slim(Counts, tmp_path).calls == 10**6


def test_private_numbers_change_as_widths_do_alone(tmp_path):
    class Private(Net):
        def start(self):
            self._sizes, self._half, self._calls = [1, 16], 8, 0

    model = Private()
    space = WidthSpace(model, example_input=(1, 3, 8, 8))
    slim = space.slim({'conv': 4})
    slim._sizes, slim._half, slim._calls = [1, 4], 2, 7  # 7 is no width
    save_slim(slim, tmp_path, {'conv': 4})
    loaded = load_slim(Private, tmp_path)
    assert (loaded._sizes, loaded._half, loaded._calls) == ([1, 4], 2, 0)


def test_inputs_of_every_form_are_made_again(tmp_path):
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.fc = nn.Embedding(20, 4), nn.Linear(4, 2)

        def forward(self, ids, scale=None, more=()):
            y = self.embed(ids) * scale['by']
            return {'out': self.fc(y), 'rest': (y.sum(), [m + 1 for m in more])}

    example = {
        'ids': torch.tensor([[19, 3]]),
        'scale': {'by': torch.rand(1500).sum()},
        'more': [torch.rand(40, 40), 2.0],
    }
    model = Many().eval()
    save_slim(model, tmp_path, {}, example_input=example)
    check = json.loads((tmp_path / 'widths.json').read_text())['check']
    assert [each['shape'] for each in check['outputs']] == [[1, 2, 2], [], [40, 40]]
    load_slim(Many, tmp_path)


def test_a_model_that_cannot_run_is_saved_without_outputs(tmp_path):
    save_slim(Net(), tmp_path, {}, example_input=(1, 7, 8, 8))
    assert json.loads((tmp_path / 'widths.json').read_text())['check'] is None
    load_slim(Net, tmp_path)


# --- damage ---


def test_every_flipped_bit_is_noticed(tmp_path):
    slim, _ = saved(Code, tmp_path)
    for file in ('slim.pt', 'buffers.pt', 'widths.json'):
        content = (tmp_path / file).read_bytes()
        for at in random.Random(0).sample(range(len(content)), 60):
            (tmp_path / file).write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            with pytest.raises(ValueError, match=rf'{file} is damaged .*copy it again, or save'):
                load_slim(Code, tmp_path)
        (tmp_path / file).write_bytes(content)
    assert torch.equal(load_slim(Code, tmp_path).eval()(X), slim(X))


@pytest.mark.parametrize('content', ['{}', '[]', '"x"', '[' * 100_000, '{"checksum": 5, "files": {}, "modules": {}}'])
def test_what_is_no_record_is_named(sent, tmp_path, content):
    (tmp_path / 'widths.json').write_text(content)
    with pytest.raises(ValueError, match='widths.json is damaged'):
        load_slim(Net, tmp_path)


def test_files_of_two_networks_do_not_mix(tmp_path):
    for name, width in (('one', 4), ('other', 5)):
        space = WidthSpace(SmallResNet(width=8), example_input=(1, 1, 8, 8), verify=False)
        space.save_slim(tmp_path / name, dict.fromkeys(space.labels, width))
    (tmp_path / 'one' / 'slim.pt').write_bytes((tmp_path / 'other' / 'slim.pt').read_bytes())
    with pytest.raises(ValueError, match='slim.pt is damaged'):
        load_slim(lambda: SmallResNet(width=8), tmp_path / 'one')


def test_a_missing_third_file_is_named(tmp_path):
    saved(Code, tmp_path)
    (tmp_path / 'buffers.pt').unlink()
    with pytest.raises(FileNotFoundError, match='has no buffers.pt'):
        load_slim(Code, tmp_path)


# --- files that somebody sent ---


@pytest.mark.parametrize(
    ('module', 'change'),
    [
        ('conv', {'_buffers': 3}),
        ('conv', {'_version': 1}),
        ('conv', {'_reversed_padding_repeated_twice': [0, 0, 0, 0]}),
        ('', {'_buffers': 3}),
        ('', {'_parameters': 1}),
        ('', {'_modules': 1}),
        ('', {'_forward_hooks': 1}),
        ('', {'_my_hook': 1}),
        ('', {'_is_full_backward_hook': 1}),
        ('', {'_call_impl': 1}),
        ('', {'_apply': 1}),
        ('', {'__dict__': 1}),
        ('', {'training': 1}),
        ('conv', {'forward': 3}),
        ('conv', {'training': False}),
        ('conv', {'training': 1}),
        ('conv', {'stride': [2, 2]}),
        ('conv', {'padding': [0, 0]}),
        ('conv', {'out_channels': 17}),
        ('conv', {'out_channels': 5}),
        ('conv', {'groups': 0}),
        ('conv', {'kernel_size': 'x'}),
        ('conv', {'kernel_size': [3, 3, 3]}),
        ('conv', {'eps': 1e9}),
        ('conv', {'in_channels': True}),
        ('fc', {'in_features': 9}),
        ('fc', {'__class__': 1}),
        ('', {'conv': 1}),
        ('', {'forward': 1}),
        ('', {'width': 17}),
        ('', {'width': -1}),
        ('', {'new': 1}),
    ],
)
def test_nothing_is_set_but_what_a_slim_model_may_change(sent, tmp_path, module, change):
    record = read_record(tmp_path / 'widths.json', remedy='')
    record['modules'].setdefault(module, {}).update(change)
    write_record(tmp_path / 'widths.json', record)
    with pytest.raises(ValueError, match=next(iter(change))):
        load_slim(Wide, tmp_path)


@pytest.mark.parametrize(
    'name', ['forward', 'conv', 'conv.weight', '_parameters', 'conv.__class__', 'nowhere.x', 'a-b']
)
def test_no_tensor_takes_the_place_of_something_else(sent, tmp_path, name):
    record = read_record(tmp_path / 'widths.json', remedy='')
    write_record(tmp_path / 'widths.json', {**record, 'unset': [name]})
    with pytest.raises(ValueError, match=name):
        load_slim(Wide, tmp_path)


def test_code_in_the_tensors_does_not_run(sent, tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / 'ran').mkdir, ()

    record = read_record(tmp_path / 'widths.json', remedy='')
    record['files']['slim.pt'] = _save_with_checksum(tmp_path / 'slim.pt', {'conv.weight': Evil()})
    write_record(tmp_path / 'widths.json', record)
    with pytest.raises(ValueError, match='slim.pt is damaged'):
        load_slim(Net, tmp_path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('file', ['slim.pt', 'widths.json', 'buffers.pt'])
def test_nothing_is_written_through_a_planted_link(tmp_path, file):
    (tmp_path / 'mine').write_text('mine')
    (tmp_path / 'slim').mkdir()
    (tmp_path / 'slim' / file).symlink_to(tmp_path / 'mine')
    with pytest.raises(FolderError, match=f'{file} is a link to .*another folder'):
        saved(Code, tmp_path / 'slim')
    assert (tmp_path / 'mine').read_text() == 'mine'
