from __future__ import annotations

import abc
import copy
import functools
import inspect
import pickle
import random

import cloudpickle
import nni
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from nni.common.serializer import SerializableObject, is_traceable
from nni.mutable import Categorical
from nni.nas.evaluator.pytorch import Classification, DataLoader as NniDataLoader, Lightning, LightningModule, Trainer
from nni.nas.nn.pytorch import ModelSpace
from torch import nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)

from nni_cafenet import traced


def again(made):
    """What a trial gets."""
    return nni.load(nni.dump(made))


class Noise(Dataset):
    """Draws its contents."""

    def __init__(self, size, shape=(2,), *, scale=1.0):
        self.x = scale * torch.randn(size, *shape)
        self.more = [np.random.rand(), random.random()]
        self.shape = shape

    @classmethod
    def of_ones(cls, size):
        noise = cls(size)
        noise.x = torch.ones_like(noise.x)
        return noise

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index]


@traced
class Module(LightningModule):
    """A module of the user's."""

    def __init__(self, rate=0.1, betas=(0.9, 0.99)):
        super().__init__()
        self.save_hyperparameters()
        self.head = nn.Linear(2, 2)
        self.betas = betas


class FinerModule(Module):
    def __init__(self, rate, depth):
        super().__init__(rate)
        self.depth = depth


@traced
def halves(size, generator=None):
    """Cut at random."""
    whole = TensorDataset(torch.arange(size))
    return random_split(whole, [size // 2, size - size // 2], generator)


def both_and_more(size):
    return {'train': Noise(size), 'test': Noise(size), 'classes': 10, 'name': 'noise', 'nothing': None}


class Part(Subset):
    pass


def drawn_part():
    return Part(range(1000), torch.randperm(1000)[:500].tolist())


def one_part():
    return Part(range(3), [1])


def two_parts():
    return Part(range(3), [1]), Part(range(3), [2])


def nested(size):
    return (Noise(size), Noise(size)), [Noise(size)], {1: Noise(size)}


def doubled(noise):
    noise.x = noise.x * 2
    return noise


class Named(abc.ABC):
    def __init__(self, name):
        self.name = name

    @abc.abstractmethod
    def greet(self): ...


class Greeter(Named):
    def greet(self):
        return f'Hello {self.name}'


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(5))


# --- classes --------------------------------------------------------------------------------------


def test_a_traced_class_makes_objects_of_the_class():
    noise = traced(Noise)(5)
    assert isinstance(noise, Noise)
    assert len(noise) == 5
    assert is_traceable(noise)
    assert traced(noise) is noise
    assert traced(Noise) is traced(Noise)
    assert not is_traceable(Noise(5))


def test_what_it_draws_is_the_same_when_it_is_made_again():
    noise, other = traced(Noise)(5), traced(Noise)(5)
    back = again(noise)
    assert torch.equal(back.x, noise.x)
    assert back.more == noise.more
    assert not torch.equal(other.x, noise.x)


def test_a_seed_gives_the_same_again_and_other_draws_go_on():
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append((traced(Noise)(5).x, torch.rand(2)))
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])


def test_arguments_are_named_and_arrive_as_they_are():
    noise = traced(Noise)(5, (2, 3), scale=2.0)
    assert {name: repr(value) for name, value in noise.trace_kwargs.items()} == {
        'size': '5',
        'shape': '(2, 3)',
        'scale': '2.0',
    }
    assert again(noise).shape == (2, 3)


def test_positional_arguments_that_have_no_name():
    dataset = traced(TensorDataset)(torch.arange(3), torch.zeros(3))
    assert again(dataset)[2] == (torch.tensor(2), torch.tensor(0.0))


def test_errors_are_those_of_the_class():
    with pytest.raises(TypeError, match='size'):
        traced(Noise)()
    with pytest.raises(TypeError, match='multiple values'):
        traced(Noise)(5, size=3)


def test_a_decorated_lightning_module():
    module = Module(0.3)
    assert isinstance(module, LightningModule)
    assert dict(module.hparams) == {'rate': 0.3, 'betas': (0.9, 0.99)}
    back = again(module)
    assert type(back) is Module
    assert dict(back.hparams) == dict(module.hparams)
    assert torch.equal(back.head.weight, module.head.weight)
    assert back.betas == (0.9, 0.99)
    assert list(inspect.signature(Module).parameters) == ['rate', 'betas']
    assert Module.__doc__ == "A module of the user's."
    assert nni.load(nni.dump({'kind': Module}))['kind'] is Module


def test_a_subclass_is_traced_too():
    module = FinerModule(0.3, depth=4)
    back = again(module)
    assert type(back) is FinerModule
    assert (back.hparams.rate, back.depth) == (0.3, 4)
    assert list(inspect.signature(FinerModule).parameters) == ['rate', 'depth']


def test_classes_of_the_script_of_any_length():
    script = {'__name__': '__main__', 'Dataset': Dataset}
    body = '\n'.join(f'    def method_{i}(self):\n        return self.size + {i}' for i in range(100))
    exec(f'class Own(Dataset):\n    def __init__(self, size):\n        self.size = size\n{body}', script)
    with pytest.raises(ValueError, match='too large'):
        nni.dump(nni.trace(script['Own'])(3))
    back = nni.load(nni.dump(traced(script['Own'])(3), pickle_size_limit=2**16))
    assert back.method_42() == 45


def test_a_class_with_a_metaclass():
    greeter = traced(Greeter)('you')
    assert again(greeter).greet() == 'Hello you'
    with pytest.raises(TypeError, match='abstract'):
        traced(Named)('you')


def test_what_nni_has_traced_already():
    trainer = traced(Trainer)(max_epochs=2, logger=False, accelerator='cpu', callbacks=[pl.callbacks.Timer()])
    loader = traced(NniDataLoader)(traced(Noise)(5), batch_size=2)
    evaluator = Lightning(Module(), trainer, loader)
    back = again(evaluator)
    assert back.trainer.max_epochs == 2
    assert isinstance(loader, NniDataLoader)
    assert torch.equal(next(iter(back.train_dataloaders)), loader.dataset.x[:2])
    assert traced(ModelSpace) is ModelSpace
    choosing = Classification(
        num_classes=2, train_dataloaders=traced(DataLoader)(traced(Noise)(5), batch_size=Categorical([1, 2], label='b'))
    )
    assert choosing.simplify().keys() == {'b'}
    assert choosing.freeze({'b': 2}).get().train_dataloaders.batch_size == 2


def test_the_old_way_to_call_super_is_explained():
    class Old(Dataset):
        def __init__(self):
            super(Old, self).__init__()  # noqa: UP008

    Old = traced(Old)
    with pytest.raises(TypeError, match=r'super\(\).__init__\(...\) without the name of the class'):
        Old()


# --- functions ------------------------------------------------------------------------------------


def test_a_function_that_returns_several_objects():
    train, test = halves(20)
    there = again([train, test])
    assert [part.indices for part in there] == [train.indices, test.indices]
    assert not set(train.indices) & set(test.indices)
    assert halves.__doc__ == 'Cut at random.'


def test_as_released_nni_draws_the_parts_anew():
    part = nni.trace(drawn_part)()
    assert again(part).indices != part.indices


def test_a_generator_has_the_state_that_it_had():
    generator = torch.Generator().manual_seed(1)
    first, _ = halves(20, generator)
    second, _ = halves(20, generator)
    generator.manual_seed(1)
    assert first.indices == random_split(range(20), [10, 10], generator)[0].indices
    assert second.indices == random_split(range(20), [10, 10], generator)[0].indices
    assert [part.indices for part in again([first, second])] == [first.indices, second.indices]


def test_a_dict_of_objects_and_plain_values():
    made = traced(both_and_more)(3)
    assert (made['classes'], made['name'], made['nothing']) == (10, 'noise', None)
    assert torch.equal(again(made['test']).x, made['test'].x)
    assert not torch.equal(made['test'].x, made['train'].x)


def test_objects_inside_of_others():
    (train, _), (test,), by_number = traced(nested)(4)
    assert torch.equal(again(train).x, train.x)
    assert torch.equal(again(test).x, test.x)
    assert torch.equal(again(by_number[1]).x, by_number[1].x)
    assert not torch.equal(test.x, train.x)


def test_a_function_that_returns_what_it_was_given():
    noise = traced(Noise)(3)
    scaled = traced(doubled)(noise)
    assert torch.equal(again(scaled).x, again(noise).x * 2)
    assert traced(doubled)(scaled).trace_kwargs == {'noise': scaled}


def test_partials_and_methods():
    noise = traced(functools.partial(Noise, shape=(4,)))(2)
    assert again(noise).shape == (4,)
    assert torch.equal(again(noise).x, noise.x)
    assert torch.equal(again(traced(Noise.of_ones)(3)).x, torch.ones(3, 2))


def test_a_class_that_nni_has_marked():
    nni.trace(one_part)()
    assert 'trace_symbol' in vars(Part)
    first, second = traced(two_parts)()
    assert [again(first).indices, again(second).indices] == [[1], [2]]
    assert again(traced(Part)(range(3), [2])).indices == [2]


@pytest.mark.parametrize('result', [torch.zeros(3), iter([1]), len])
def test_objects_that_cannot_remember(result):
    def make():
        return result

    with pytest.raises(TypeError, match=r'traced\(\) of .*make, which returned a \w+: such an object cannot record'):
        traced(make)()


# --- copies and pickles ---------------------------------------------------------------------------


def test_copies_are_copies():
    noise, module = traced(Noise)(3), Module(0.3)
    for copied in (copy.deepcopy(noise), copy.copy(noise)):
        assert torch.equal(copied.x, noise.x)
        assert copied.trace_kwargs == {'size': 3}
    assert copy.deepcopy(noise).x is not noise.x
    with torch.no_grad():
        module.head.weight.fill_(7)
    assert torch.equal(copy.deepcopy(module).head.weight, module.head.weight)


@pytest.mark.parametrize('library', [pickle, cloudpickle])
def test_pickled_with_contents_and_still_traced(library):
    noise, module, (part, _) = traced(Noise)(3), FinerModule(0.3, 4), halves(8)
    noise.x += 1
    back_noise, back_module, back_part = library.loads(library.dumps((noise, module, part)))
    assert torch.equal(back_noise.x, noise.x)
    assert type(back_noise) is type(noise)
    assert torch.allclose(again(back_noise).x, noise.x - 1, atol=1e-6)
    assert type(back_module) is FinerModule
    assert back_module.trace_kwargs == {'rate': 0.3, 'depth': 4}
    assert again(back_part).indices == part.indices


def test_loaders_with_processes_of_their_own():
    loader = traced(DataLoader)(traced(Noise)(4), num_workers=1, multiprocessing_context='fork', batch_size=2)
    assert torch.equal(torch.cat(list(loader)), loader.dataset.x)


def test_the_record_alone():
    record = traced(Noise)(3).trace_copy()
    assert type(record) is SerializableObject
    record.trace_kwargs['size'] = 7
    assert len(record.get()) == 7
    with pytest.raises(AttributeError, match='has no constructor record'):
        traced(Noise).__new__(traced(Noise)).trace_symbol


# --- what is there already ------------------------------------------------------------------------


def first_batches(loader):
    torch.manual_seed(0)
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize(
    'options',
    [
        {'batch_size': 2},
        {'batch_size': 2, 'shuffle': True, 'drop_last': True},
        {'batch_size': 2, 'shuffle': True, 'num_workers': 1, 'prefetch_factor': 3, 'persistent_workers': True},
        {'batch_size': None},
        {'batch_sampler': BatchSampler(SequentialSampler(range(5)), 3, drop_last=False)},
        {'sampler': WeightedRandomSampler([0.0, 0.0, 1.0, 0.0, 1.0], 6), 'batch_size': 4},
        {'sampler': RandomSampler(range(5), replacement=True, num_samples=9)},
        {'collate_fn': torch.stack, 'pin_memory': False, 'timeout': 0},
    ],
    ids=lambda options: '-'.join(options),
)
def test_a_loader_that_is_there(options):
    noise = traced(Noise)(5)
    plain = DataLoader(noise, **options)
    loader = traced(plain)
    back = again(loader)
    for name in ('batch_size', 'drop_last', 'num_workers', 'collate_fn', 'prefetch_factor', 'persistent_workers'):
        assert getattr(back, name) == getattr(plain, name)
    assert type(back.sampler) is type(plain.sampler)
    if not options.get('num_workers'):
        assert first_batches(back) == first_batches(plain)


def test_the_order_of_a_loader_with_a_generator():
    loader = traced(DataLoader(range(50), shuffle=True, generator=torch.Generator().manual_seed(2)))
    assert again(loader).generator.initial_seed() == 2
    assert [batch.item() for batch in again(loader)] == [batch.item() for batch in loader]


def test_an_endless_loader():
    assert [batch.tolist() for batch in again(traced(DataLoader(Endless(), batch_size=3)))] == [[0, 1, 2], [3, 4]]


def test_parts_and_chains_of_traced_data_sets():
    noise = traced(Noise)(50_000)
    chain = traced(ConcatDataset([Subset(noise, [4, 2]), noise]))
    text = nni.dump(chain)
    assert len(text) < 2000
    assert torch.equal(nni.load(text)[1], noise.x[2])
    part = traced(Subset(noise, torch.arange(3)))
    assert torch.equal(again(part)[1], noise.x[1])


@pytest.mark.parametrize(
    ('made', 'remedy'),
    [
        (TensorDataset(torch.zeros(3)), r"traced_tensors\(\*dataset.tensors, path='data.pt'\)"),
        (nn.Linear(2, 2), r'Decorate its class with @traced'),
        (Noise(2), r'traced\(Noise\)\(...\)'),
    ],
)
def test_what_cannot_be_known(made, remedy):
    with pytest.raises(TypeError, match=remedy):
        traced(made)
