from __future__ import annotations

import importlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import nni
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchvision
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import (
    Classification,
    ClassificationModule,
    DataLoader as NniDataLoader,
    Lightning,
    LightningModule,
    Trainer,
)
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, WeightedRandomSampler, random_split

from nni_cafenet import CafeNet, RandomSearch, WidthSpace, check_serializable, factory_of, traced, traced_tensors
from nni_cafenet.errors import CafeNetError, SerializationError
from nni_cafenet.stages.train_supernet import SupernetStage
from nni_cafenet.testing import SmallResNet, digits

QUIET = {
    'accelerator': 'cpu',
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'max_epochs': 1,
}
pytestmark = pytest.mark.filterwarnings('ignore:Found positional arguments', 'ignore:.*positional arguments')


@nni.trace
class Numbers(Dataset):
    """Much data, made by a call."""

    def __init__(self, size=10_000, transform=None, scale=1.0, shape=None):
        self.x = torch.arange(size)
        self.transform = transform
        self.scale = float(scale)
        self.shape = shape

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index]


class Around(Dataset):
    """Hands the attributes of another data set on."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.__dict__['inner'], name)


class Locked(pl.Callback):
    def __init__(self):
        self.lock = threading.Lock()


class Heavy(ClassificationModule):
    """Not traced, and with much in it."""

    def __init__(self):
        super().__init__(num_classes=10)
        self.teacher = nn.Linear(200, 200)


class Data(pl.LightningDataModule):
    def __init__(self, size):
        super().__init__()
        self.x = torch.zeros(size)

    def train_dataloader(self):
        return DataLoader(self.x)


def train(model, rate):
    return rate


class Loader(DataLoader):
    """Of its own, since nni.trace of a function marks the class of what it returns."""


def make_loader():
    return Loader(Numbers())


@pytest.fixture(scope='module')
def space():
    return WidthSpace(SmallResNet, (), {'width': 4}, example_input=(1, 1, 8, 8), verify=False)


@pytest.fixture
def evaluator():
    return lambda loader=None, **options: Classification(
        num_classes=10, train_dataloaders=loader, **{**QUIET, **options}
    )


@pytest.fixture
def culprits(space, evaluator):
    """``culprits(loader)``: what is refused, a line each."""

    def find(loader=None, *, of=None, **others):
        given = loader if isinstance(loader, (Lightning, FunctionalEvaluator)) else evaluator(loader)
        with pytest.raises(SerializationError) as caught:
            check_serializable(space if of is None else of, given, **others)
        first, *lines = str(caught.value).splitlines()
        assert first.startswith(f'{len(lines)} object')
        return [line.strip() for line in lines]

    return find


@pytest.fixture
def notes(space, evaluator, caplog):
    """``notes(loader)``: what is warned of."""

    def find(loader=None, **others):
        caplog.clear()
        with caplog.at_level(logging.WARNING, 'nni_cafenet.trials.transfer'):
            check_serializable(space, evaluator(loader), **others)
        return [record.getMessage() for record in caplog.records]

    return find


# --- what travels ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'make',
    [
        lambda: None,
        lambda: NniDataLoader(Numbers(), batch_size=4, shuffle=True),
        lambda: traced(DataLoader)(Numbers(), batch_size=4, shuffle=True),
        lambda: NniDataLoader(TensorDataset(torch.zeros(100, 3))),
        lambda: NniDataLoader(Numbers(), collate_fn=lambda batch: batch),
        lambda: NniDataLoader(nni.trace(Subset)(Numbers(), [1, 2])),
        lambda: traced(DataLoader)(Subset(Numbers(), [1, 2])),
        lambda: traced(DataLoader(Subset(Numbers(), [1, 2]))),
        lambda: traced(DataLoader)(Numbers(), generator=torch.Generator().manual_seed(1)),
        lambda: traced(DataLoader)(Numbers(), sampler=WeightedRandomSampler([1.0] * 10, 10)),
        lambda: NniDataLoader(Numbers(transform=torchvision.transforms.Compose([torchvision.transforms.ToTensor()]))),
        lambda: [NniDataLoader(Numbers()), {'b': NniDataLoader(Numbers())}],
        lambda: traced(DataLoader)(traced(digits)('train')),
        lambda: nni.trace(make_loader)(),
    ],
)
def test_what_travels(make, notes):
    assert notes(make()) == []


def test_parts_of_evaluators_of_all_kinds(space):
    for evaluator in (
        Lightning(
            ClassificationModule(num_classes=10), Trainer(callbacks=[pl.callbacks.EarlyStopping('val_loss')], **QUIET)
        ),
        Lightning(traced(Heavy)(), Trainer(**QUIET), datamodule=traced(Data)(10**6)),
        FunctionalEvaluator(train, rate=0.1),
    ):
        check_serializable(space, evaluator, more=[1, {'a': nn.ReLU}], nothing=None)


def test_spaces_with_arguments_of_all_kinds(evaluator):
    torch.manual_seed(0)
    x = torch.randn(2, 1, 8, 8)
    space = WidthSpace(
        lambda width, shape: SmallResNet(width=width) if shape == (8, 8) else None,
        kwargs={'width': 4, 'shape': (8, 8)},
        example_input=(x,),
        exclude=(re.compile('layer3'), nn.Linear),
        verify=False,
    )
    check_serializable(space, evaluator())
    symbol, kwargs = nni.load(nni.dump([space.trace_symbol, space.trace_kwargs], pickle_size_limit=2**16))
    back = symbol(**kwargs)
    assert back.choices == space.choices
    assert torch.equal(back.example_input.args[0], x)


def test_a_large_limit(culprits, monkeypatch, notes):
    dataset = TensorDataset(torch.randn(10, 10**4))
    assert len(culprits(NniDataLoader(dataset))) == 1
    monkeypatch.setenv('PICKLE_SIZE_LIMIT', '1000000')
    assert notes(NniDataLoader(dataset)) == []


# --- what does not --------------------------------------------------------------------------------


def test_the_error_lists_everything_at_once(culprits):
    assert issubclass(SerializationError, TypeError)
    assert issubclass(SerializationError, CafeNetError)
    dataset = TensorDataset(torch.randn(10, 10**4), torch.zeros(10))
    found = culprits(
        NniDataLoader(dataset, generator=torch.Generator()),
        of=WidthSpace(SmallResNet(), example_input=(1, 1, 8, 8), verify=False),
        lock=threading.Lock(),
    )
    assert [line.split(':')[0] for line in found] == [
        'space.model',
        'evaluator.train_dataloaders.dataset',
        'evaluator.train_dataloaders.generator',
        'lock',
    ]
    assert found[0].startswith('space.model: the SmallResNet has 713KB')
    assert found[0].endswith('nni_cafenet.factory_of(model, path).')
    assert found[1].startswith(
        'evaluator.train_dataloaders.dataset: the TensorDataset has 400KB, 400KB of them in '
        'evaluator.train_dataloaders.dataset.tensors[0]. '
    )
    assert found[1].endswith('nni_cafenet.traced_tensors(*dataset.tensors, path=...).')
    assert found[2].startswith('evaluator.train_dataloaders.generator: the Generator cannot be encoded')
    assert 'nni_cafenet.traced' in found[2]
    assert found[3].startswith("lock: the lock cannot be pickled (TypeError: cannot pickle '_thread.lock' object). ")
    assert 'traced function' in found[3]


@pytest.mark.parametrize(
    ('make', 'path', 'words'),
    [
        (lambda: DataLoader(Numbers()), '', ['the DataLoader', 'traced data set', 'nni_cafenet.traced(loader).']),
        (
            lambda: DataLoader(TensorDataset(torch.zeros(10**5))),
            '',
            ['400KB', 'nni_cafenet.traced(loader)', 'traced_tensors(*dataset.tensors, path=...)'],
        ),
        (lambda: NniDataLoader(Subset(Numbers(), [1])), '.dataset', ['the Subset', 'traced(random_split)(...)']),
        (
            lambda: NniDataLoader(random_split(TensorDataset(torch.zeros(10**5)), [10, 10**5 - 10])[0]),
            '.dataset',
            ['the Subset', 'a traced data set', 'traced_tensors('],
        ),
        (
            lambda: NniDataLoader(Around(Numbers())),
            '.dataset',
            ['the Around', 'constructor record', 'traced(Around)(...)'],
        ),
        (lambda: NniDataLoader(Plain()), '.dataset', ['the Plain', 'traced(Plain)(...)']),
        (
            lambda: NniDataLoader(nni.trace(Around)(torch.zeros(10**5))),
            '.dataset.inner',
            ['the Tensor has 400KB', 'file'],
        ),
        (lambda: NniDataLoader(nni.trace(Around)(np.zeros(10**5))), '.dataset.inner', ['the ndarray has', 'file']),
        (
            lambda: NniDataLoader(Numbers(), collate_fn=big_lambda()),
            '.collate_fn',
            ['<lambda> has 401KB', 'top level of a mod'],
        ),
        (lambda: NniDataLoader(Numbers(transform={(1, 2): 3})), '.dataset.transform', ['keys that are neither']),
        (
            lambda: NniDataLoader(Numbers(shape=torch.float16)),
            '.dataset.shape',
            ['the dtype cannot be encoded', 'traced'],
        ),
    ],
)
def test_data_that_does_not_travel(make, path, words, culprits):
    (line,) = culprits(make())
    assert line.startswith(f'evaluator.train_dataloaders{path}: ')
    for word in words:
        assert word in line


class Plain(Dataset):
    def __init__(self):
        self.data = list(range(10**6))


def big_lambda():
    data = torch.zeros(10**5)
    return lambda batch: (batch, data)


def with_module(module, **options):
    return Lightning(module, Trainer(**QUIET), **options)


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda: with_module(Heavy()), ['evaluator.lightning_module: the Heavy', 'traced(Heavy)(...)']),
        (lambda: with_module(traced(Heavy)(), datamodule=Data(10**6)), ['evaluator.datamodule: the Data has 4.']),
        (lambda: Classification(num_classes=10, callbacks=[Locked()]), ['evaluator.callbacks[0]: the Locked cannot']),
        (lambda: FunctionalEvaluator(train, rate=torch.zeros(10**5)), ['evaluator.rate: the Tensor has 400KB']),
    ],
)
def test_evaluators_that_do_not_travel(make, words, culprits):
    (line,) = culprits(make())
    for word in words:
        assert word in line


def test_code_of_the_script_that_nni_does_not_send(culprits):
    script = {'__name__': '__main__', 'LightningModule': LightningModule}
    body = '\n'.join(f'    def method_{i}(self):\n        return self.size + {i}' for i in range(100))
    exec(f'class Own(LightningModule):\n    pass\n{body}', script)
    (line,) = culprits(Lightning(nni.trace(script['Own'])(), Trainer(**QUIET)))
    assert line.startswith('evaluator.lightning_module: Own is defined in the script')
    assert 'at most 4096 bytes. Use nni_cafenet.traced ' in line
    check_serializable(None, Lightning(traced(script['Own'])(), Trainer(**QUIET)))
    script['Own'].more = [torch.zeros(10**5)]
    (line,) = culprits(Lightning(script['Own'](), Trainer(**QUIET)))
    assert line.endswith(' nni_cafenet.traced(Own)(...).')


def test_the_evaluator_that_cafenet_made(space, culprits):
    evaluator = Classification(num_classes=10, train_dataloaders=DataLoader(digits()), **QUIET)
    made = SupernetStage(space, evaluator, CafeNet('50%').options).evaluator
    lines = culprits(made)
    assert any('CafeNet' in line and 'Give the original evaluator.' in line for line in lines)


@pytest.mark.parametrize('name', ['train_dataloaders', 'val_dataloaders', 'datamodule', 'trainer', 'module'])
def test_what_was_replaced_in_an_evaluator(name, culprits):
    evaluator = Lightning(ClassificationModule(num_classes=10), Trainer(**QUIET), NniDataLoader(Numbers()))
    check_serializable(None, evaluator)
    setattr(evaluator, name, object())
    (line,) = culprits(evaluator)
    assert line.startswith(f'evaluator.{name} was replaced after the evaluator was created')
    assert line.endswith('a new evaluator.')


def test_the_old_name_of_a_loader_is_no_replacement(space):
    with pytest.warns(DeprecationWarning, match='train_dataloader'):
        evaluator = Classification(num_classes=10, train_dataloader=NniDataLoader(Numbers()), **QUIET)
    check_serializable(space, evaluator)


def test_an_example_input_that_is_too_large(culprits, evaluator):
    space = WidthSpace(SmallResNet, example_input=torch.randn(1000, 1, 8, 8), verify=False)
    (line,) = culprits(of=space)
    assert line.startswith('space.example_input: the Tensor has 256KB. Give its shape, such as (1, 3, 224, 224)')


def test_an_object_that_cannot_be_made_again(culprits, tmp_path):
    (tmp_path / 'data').touch()
    dataset = nni.trace(OfFile)(str(tmp_path / 'data'))
    dataset.path = None
    (tmp_path / 'data').unlink()
    (line,) = culprits(NniDataLoader(dataset))
    assert 'the OfFile cannot be reconstructed (FileNotFoundError: ' in line


class OfFile(Dataset):
    def __init__(self, path):
        self.path = path
        os.stat(path)

    def __len__(self):
        return 1


# --- what arrives as something else ---------------------------------------------------------------


def test_arguments_that_nni_changes(notes):
    loader = NniDataLoader(Numbers(transform={1: 'a'}, scale=np.float32(2), shape=(2, 3)))
    found = notes(loader)
    assert [line.split(': ')[0] for line in found] == [
        f'evaluator.train_dataloaders.dataset.{name}' for name in ('transform', 'scale', 'shape')
    ]
    assert 'its keys arrive in trials as strings' in found[0]
    assert 'the float32 arrives in trials as a float' in found[1]
    assert 'the tuple arrives in trials as a list' in found[2]
    assert notes(NniDataLoader(traced(Numbers)(shape=(2, 3), transform={1: 'a'}))) == []


def test_what_was_set_after_an_object_was_made(notes):
    dataset = Numbers(scale=3)  # which it keeps as a float
    dataset.transform = nn.ReLU()
    (line,) = notes(NniDataLoader(dataset))
    assert line.startswith('evaluator.train_dataloaders.dataset.transform was set after the Numbers was created')
    dataset.transform = None
    assert notes(NniDataLoader(dataset)) == []


def test_a_lot_of_text(notes):
    (line,) = notes(NniDataLoader(nni.trace(Subset)(Numbers(), list(range(300_000)))))
    assert line.startswith('The parameters of every trial take 2.29MB,')


# --- a fresh process ------------------------------------------------------------------------------


CODE = """
import hashlib
import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import nn
from torch.utils.data import Dataset
from nni_cafenet import traced


class Drawn(Dataset):
    def __init__(self, size, shape=(2,)):
        self.x = torch.randn(size, *shape)
        self.y = torch.randint(3, (size,))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


@traced
class Module(LightningModule):
    def __init__(self, weights=(1.0, 2.0, 3.0)):
        super().__init__()
        self.save_hyperparameters()
        self.head = nn.Linear(2, 3)
        self.loss = nn.CrossEntropyLoss(weight=torch.tensor(weights))

    def training_step(self, batch, index):
        return self.loss(self.head(batch[0]), batch[1])


def digest(batch):
    return hashlib.sha1(b''.join(part.numpy().tobytes() for part in batch)).hexdigest()


def facts(sent):
    space, evaluator, files, factory, function, script = sent
    batches = {name: next(iter(getattr(evaluator, f'{name}_dataloaders'))) for name in ('train', 'val')}
    return {
        'loss': evaluator.module.training_step(batches['train'], 0).item(),
        'batches': {name: digest(batch) for name, batch in batches.items()},
        'sizes': [len(evaluator.train_dataloaders.dataset), len(evaluator.val_dataloaders.dataset)],
        'weights': evaluator.module.hparams.weights == (1.0, 2.0, 3.0),
        'epochs': evaluator.trainer.max_epochs,
        'files': digest(files[:3]),
        'factory': digest([tensor.detach() for tensor in factory().state_dict().values()]),
        'function': function(20),
        'script': script.answer(),
        'choices': {label: list(widths) for label, widths in space.choices.items()},
    }
"""

SCRIPT = """
class Own:
    def __init__(self, number):
        self.number = number

    def answer(self):
        return two * self.number

two = 2
"""


@pytest.fixture
def user_code(tmp_path, monkeypatch):
    (tmp_path / 'code_of_the_user.py').write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(
        'PYTHONPATH', os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')])
    )
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module('code_of_the_user')
    del sys.modules['code_of_the_user']


def test_the_same_in_a_fresh_process(user_code, tmp_path):
    script = {'__name__': '__main__'}
    exec(SCRIPT, script)
    parts = traced(random_split)(traced(user_code.Drawn)(50, shape=(2,)), [30, 20])
    generator = torch.Generator().manual_seed(5)
    evaluator = Lightning(
        user_code.Module(),
        Trainer(**{**QUIET, 'max_epochs': 3}),
        traced(DataLoader)(parts[0], batch_size=10, shuffle=True, generator=generator),
        traced(DataLoader(parts[1], batch_size=5)),
    )
    factory = factory_of(SmallResNet(width=4), 'model.pt')
    space = WidthSpace(factory, example_input=(1, 1, 8, 8), verify=False)
    more = [
        traced_tensors(torch.randn(5, 3), torch.arange(5), path='tensors.pt'),
        factory,
        lambda number: number + 1,
        traced(script['Own'])(21),
    ]
    check_serializable(space, evaluator, more=more)
    (tmp_path / 'sent.json').write_text(nni.dump([space, evaluator, *more], pickle_size_limit=2**16))
    (tmp_path / 'trial.py').write_text(
        'import json, nni\n'
        "sent = nni.load(open('sent.json').read())\n"
        'from code_of_the_user import facts\n'
        "json.dump(facts(sent), open('facts.json', 'w'))\n"
    )
    done = subprocess.run([sys.executable, 'trial.py'], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = user_code.facts([space, evaluator, *more])
    assert json.loads((tmp_path / 'facts.json').read_text()) == json.loads(json.dumps(here))
    assert here['script'] == 42


def test_modules_that_trials_do_not_find(user_code, tmp_path, monkeypatch, culprits):
    loader = NniDataLoader(traced(user_code.Drawn)(5))
    check_serializable(None, loader)
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (line,) = culprits(loader)
    assert line.startswith(
        f'evaluator.train_dataloaders.dataset: trials need the module code_of_the_user ({tmp_path}/code_of_the_user.py)'
    )
    assert f'They start in {elsewhere}: ' in line
    assert 'PYTHONPATH' in line
    (elsewhere / 'code_of_the_user.py').write_text('')
    monkeypatch.setenv('PYTHONPATH', f'{elsewhere}{os.pathsep}{os.environ["PYTHONPATH"]}')
    (line,) = culprits(loader)
    assert f'but find {elsewhere}/code_of_the_user.py instead.' in line


# --- in this process ------------------------------------------------------------------------------


class Digits(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(digits(), batch_size=64, shuffle=True)


def test_a_search_is_the_same_with_traced_parts(tmp_path):
    histories = []
    for make in (lambda kind: kind, traced):
        module = make(ClassificationModule)(num_classes=10)
        evaluator = Lightning(module, traced(Trainer)(**QUIET), datamodule=make(Digits)())
        torch.manual_seed(0)
        space = WidthSpace(SmallResNet, (), {'width': 4}, example_input=(1, 1, 8, 8), verify=False)
        strategy = CafeNet(
            '50%',
            channel_sets_per_step=1,
            statistics_batches=1,
            search=RandomSearch(3),
            directory=tmp_path / make.__name__,
        )
        strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
        histories.append([(dict(record.widths), record.score) for record in strategy.history])
    assert len(histories[0]) == 3
    assert histories[0] == histories[1]
