from __future__ import annotations

import copy

import nni
import pytest
import pytorch_lightning as pl
import torch
from nni.compression import LightningEvaluator, TorchEvaluator
from nni.nas.evaluator.pytorch import Classification, Lightning, LightningModule, Trainer
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from nni_cafenet import WidthSpace
from nni_cafenet.pruning.nni_pruner.evaluators import as_nas_evaluator
from nni_cafenet.pruning.trainer_options import TrainerOptions
from nni_cafenet.pruning.training import SILENT
from nni_cafenet.stages.evaluator_factory import EvaluatorFactory

X, Y = torch.randn(24, 4, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
DATA = TensorDataset(X, Y)
ON_CPU = TrainerOptions('cpu')


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def step(batch, model):
    return cross_entropy(model(batch[0]), batch[1])


def training_func(model, optimizers, training_step, lr_schedulers=None, max_steps=None, max_epochs=None):
    for _ in range(max_epochs or 3):
        for batch in DataLoader(DATA, 8, shuffle=True):
            optimizers.zero_grad()
            training_step(batch, model).backward()
            optimizers.step()


def accuracy(model):
    return float((model(X).argmax(1) == Y).float().mean())


def torch_evaluator(net, **options) -> TorchEvaluator:
    given = {
        'training_func': training_func,
        'optimizers': nni.trace(torch.optim.SGD)(net.parameters(), lr=0.3, momentum=0.5),
        'training_step': step,
        'evaluating_func': accuracy,
    }
    return TorchEvaluator(**{**given, **options})


def train(made, network, epochs: int = 2) -> dict[str, float]:
    """Train a network with a fresh copy of an evaluator; what it logged last."""
    fresh = EvaluatorFactory(made.evaluator).make(**{**SILENT, 'max_epochs': epochs, 'accelerator': 'cpu'})
    fresh.evaluate(network)
    return {name: float(value) for name, value in fresh.trainer.callback_metrics.items()}


# --- TorchEvaluator -------------------------------------------------------------------------------


def test_functions_of_a_torch_evaluator():
    net = make_net()
    before = copy.deepcopy(net.state_dict())
    made = as_nas_evaluator(torch_evaluator(net), net, trainer=ON_CPU)
    assert (made.metric, made.higher_is_better) == ('default', True)
    assert made.evaluator.train_dataloaders.dataset is DATA  # seen in its training_func
    assert all(torch.equal(each, before[name]) for name, each in net.state_dict().items())
    narrow = WidthSpace(make_net(), example_input=(1, 4), min_ratio=0).slim({'0': 2})
    expected = copy.deepcopy(narrow)
    logged = train(made, narrow)
    assert logged['default'] == pytest.approx(accuracy(narrow))
    assert 'train_loss' in logged
    assert not torch.equal(expected[0].weight, narrow[0].weight)


def test_the_optimizer_is_made_for_every_network():
    net = make_net()
    groups = [{'params': [net[0].weight], 'lr': 0.1}, {'params': [net[0].bias, *net[2].parameters()]}]
    optimizer = nni.trace(torch.optim.SGD)(groups, lr=0.3, momentum=0.5)
    schedulers = nni.trace(torch.optim.lr_scheduler.StepLR)(optimizer, 1, gamma=0.5)
    made = as_nas_evaluator(torch_evaluator(net, optimizers=optimizer, lr_schedulers=schedulers), net, trainer=ON_CPU)
    space = WidthSpace(make_net(), example_input=(1, 4))
    for network in (space, space.slim(space.smallest_widths)):
        module = EvaluatorFactory(made.evaluator).make().module
        module.set_model(network)
        (made_optimizer,), (scheduler,) = module.configure_optimizers()
        assert [group['lr'] for group in made_optimizer.param_groups] == [0.1, 0.3]
        assert made_optimizer.param_groups[0]['params'] == [dict(network.named_parameters())['0.weight']]
        assert made_optimizer.defaults['momentum'] == 0.5
        assert scheduler['scheduler'].gamma == 0.5
        assert scheduler['interval'] == 'epoch'
    train(made, space.slim(space.smallest_widths))


@pytest.mark.parametrize('wrap', [lambda loss: {'loss': loss, 'more': 1}, lambda loss: (loss, 'more')])
def test_what_a_training_step_may_return(wrap):
    net = make_net()
    evaluator = torch_evaluator(net, training_step=lambda batch, model: wrap(step(batch, model)))
    assert train(as_nas_evaluator(evaluator, net, trainer=ON_CPU), net, 1)['train_loss'] > 0


def test_a_loader_and_a_loss_in_place_of_its_functions():
    net, loader = make_net(), DataLoader(DATA, 4)
    given = {'train': loader, 'validate': DataLoader(DATA, 12), 'trainer': ON_CPU}
    made = as_nas_evaluator(torch_evaluator(net, evaluating_func=None), net, **given)
    assert made.evaluator.train_dataloaders is loader
    assert (made.metric, made.higher_is_better) == ('val_loss', False)
    assert train(made, net)['val_loss'] == pytest.approx(float(step((X, Y), net).detach()))


def no_step(model, optimizers, training_step, *rest):
    pass


def own_batches(model, optimizers, training_step, *rest):
    training_step((X, Y), model)


def two_loaders(model, optimizers, training_step, *rest):
    for batch, _ in zip(DataLoader(DATA), DataLoader(DATA)):
        training_step(batch, model)


def other_batches(model, optimizers, training_step, *rest):
    for x, y in DataLoader(DATA, 4):
        training_step({'x': x, 'y': y}, model)


@pytest.mark.parametrize(
    ('function', 'said'),
    [
        (no_step, 'training_func returned without calling training_step. Give train='),
        (own_batches, 'read 0 DataLoaders before its first step.* Give train=, a loader of what training_step takes'),
        (two_loaders, 'read 2 DataLoaders'),
        (other_batches, 'changes the batches of its loader before it calls training_step. Give train='),
    ],
)
def test_a_training_function_that_does_not_show_its_loader(function, said):
    net = make_net()
    with pytest.raises(ValueError, match=said):
        as_nas_evaluator(torch_evaluator(net, training_func=function), net, trainer=ON_CPU)
    made = as_nas_evaluator(
        torch_evaluator(net, training_func=function), net, train=DataLoader(DATA, 4), trainer=ON_CPU
    )
    assert made.evaluator.train_dataloaders.batch_size == 4


def test_a_torch_evaluator_that_cannot_be_used():
    net = make_net()
    with pytest.raises(ValueError, match='has no evaluating_func. Give it one, or validate=, a loader'):
        as_nas_evaluator(torch_evaluator(net, evaluating_func=None), net)
    optimizers = [nni.trace(torch.optim.SGD)(part.parameters(), lr=0.1) for part in (net[0], net[2])]
    with pytest.raises(ValueError, match='has 2 optimizers. Give it one, with several parameter groups'):
        as_nas_evaluator(torch_evaluator(net, optimizers=optimizers), net)
    with pytest.raises(
        ValueError, match='evaluator: the optimizer of the TorchEvaluator has no parameters of the model'
    ):
        as_nas_evaluator(torch_evaluator(net), make_net())


# --- Lightning ------------------------------------------------------------------------------------


class Own(pl.LightningModule):
    """A network and its training."""

    def __init__(self, rate: float = 0.3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.body = nn.Linear(4, 6)
        self.model = nn.Linear(6, 3)  # a name that NNI's modules use themselves
        self.accuracy = MulticlassAccuracy(3)

    def forward(self, x):
        return self.model(self.body(x).relu())

    def training_step(self, batch, batch_idx):
        loss = cross_entropy(self(batch[0]), batch[1])
        self.log('train_loss', loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.accuracy(self(batch[0]), batch[1])
        self.log('val_acc', self.accuracy)

    def configure_optimizers(self):
        return torch.optim.SGD(
            [{'params': self.body.parameters()}, {'params': self.model.parameters()}], lr=self.hparams.rate
        )


class Direct(Own):
    def training_step(self, batch, batch_idx):
        return cross_entropy(self.model(self.body(batch[0]).relu()), batch[1])


class Inherited(Own):
    def training_step(self, batch, batch_idx):
        return cross_entropy(Own.forward(self, batch[0]), batch[1])


class Copied(Own):
    def training_step(self, batch, batch_idx):
        return super().training_step(batch, batch_idx) if type(self) is Copied else self.nothing


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(DATA, 8, shuffle=True)

    def val_dataloader(self):
        return DataLoader(DATA, 12)


def lightning_evaluator() -> LightningEvaluator:
    trainer = nni.trace(pl.Trainer)(**SILENT, max_epochs=1, accelerator='cpu')
    return LightningEvaluator(trainer, nni.trace(Data)())


def own() -> Own:
    torch.manual_seed(0)
    return Own()


def test_a_lightning_module_trains_networks_of_its_kind():
    network = own()
    before = copy.deepcopy(network.state_dict())
    made = as_nas_evaluator(lightning_evaluator(), network)
    space = WidthSpace(own(), example_input=(1, 4), min_ratio=0)
    assert space.labels == ('body',)
    narrow = space.slim({'body': 2})
    logged = train(made, narrow)
    assert type(narrow) is Own
    assert logged['val_acc'] == pytest.approx(float((narrow(X).argmax(1) == Y).float().mean()))
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())


def test_its_steps_reach_the_supernet():
    made = as_nas_evaluator(lightning_evaluator(), own())
    space = WidthSpace(own(), example_input=(1, 4), min_ratio=0)
    module = EvaluatorFactory(made.evaluator).make().module
    module.set_model(space)
    module.log = lambda *args, **kwargs: None
    space.activate({'body': 2})
    loss = module.training_step((X, Y), 0)
    assert torch.allclose(loss, cross_entropy(space.slim({'body': 2})(X), Y))
    loss.backward()
    assert space.full_model.body.weight.grad[2:].abs().sum() == 0
    (optimizer,) = [module.configure_optimizers()]
    assert [each['params'] for each in optimizer.param_groups] == [
        list(space.full_model.body.parameters()),
        list(space.full_model.model.parameters()),
    ]
    assert isinstance(module, LightningModule)
    assert isinstance(module, Own)


@pytest.mark.parametrize(
    ('kind', 'said'),
    [
        (Direct, "calls its submodule 'body' directly, so it cannot train a narrower network"),
        (Inherited, "calls its submodule 'body'"),
        (Copied, "fails with another network .AttributeError: .*'nothing'"),
    ],
)
def test_steps_that_do_not_call_the_module_are_found(kind, said):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=rf'training_step of {kind.__name__} {said}.*outputs = self\(inputs\)'):
        as_nas_evaluator(lightning_evaluator(), kind())


def test_a_lightning_module_with_loaders():
    loaders = {'train': DataLoader(DATA, 8), 'validate': DataLoader(DATA, 12)}
    network = own()
    made = as_nas_evaluator(network, network, **loaders, trainer=ON_CPU)
    assert train(made, own())['val_acc'] >= 0
    of_nni = Classification(num_classes=3).module
    made = as_nas_evaluator(of_nni, make_net(), **loaders, trainer=ON_CPU)
    assert made.evaluator.module is not of_nni
    assert 'val_acc' in train(made, make_net())
    with pytest.raises(ValueError, match='validate=None: a Lightning module has no data'):
        as_nas_evaluator(network, network, train=loaders['train'])
    with pytest.raises(TypeError, match='Own is a LightningModule with its own network'):
        as_nas_evaluator(network, make_net(), **loaders)


def test_an_evaluator_of_nas_stays_as_it_is():
    evaluator = Lightning(
        Classification(num_classes=3).module, Trainer(max_epochs=1), DataLoader(DATA), DataLoader(DATA)
    )
    assert as_nas_evaluator(evaluator, make_net()).evaluator is evaluator


# --- what is refused ------------------------------------------------------------------------------


class TransformersEvaluator:
    pass


@pytest.mark.parametrize(
    ('evaluator', 'said'),
    [
        (
            TransformersEvaluator(),
            r'TransformersEvaluator cannot train .*Use a TorchEvaluator with training_step=lambda',
        ),
        (
            training_func,
            r'evaluator=function cannot train .* Use a TorchEvaluator or LightningEvaluator of nni.compression',
        ),
    ],
)
def test_evaluators_of_other_kinds(evaluator, said):
    with pytest.raises(TypeError, match=said):
        as_nas_evaluator(evaluator, make_net())


def test_what_does_not_go_together():
    with pytest.raises(TypeError, match='model=Sequential: a LightningEvaluator needs a LightningModule'):
        as_nas_evaluator(lightning_evaluator(), make_net())
    with pytest.raises(ValueError, match='train: given .*LightningEvaluator, which has its own'):
        as_nas_evaluator(lightning_evaluator(), own(), train=DataLoader(DATA))
