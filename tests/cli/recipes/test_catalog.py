"""The named recipes: their fields, their networks and costs, and the words that choose and change them."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import cli
from nni_cafenet.cli.commands.consent import refuse_without_consent
from nni_cafenet.cli.config import Configuration, Given, set_fields, with_fraction
from nni_cafenet.cli.loading import load_model
from nni_cafenet.cli.recipes import NETWORKS, Recipe, all_recipes, recipe_names
from nni_cafenet.errors import ConfigurationError
from nni_cafenet.options import CostLimit

NAMES = recipe_names()
CLASSES = {'imagenet': 1000, 'cifar10': 10, 'celeba': 40, 'coco': 81}
SOURCES = {'imagenet': 'imagefolder:photos', 'cifar10': 'cifar10:data', 'celeba': 'celeba:data', 'coco': 'coco:data'}
PROPOSALS = 1000


def configuration_of(name, **more):
    given = {'recipe': name, 'data.source': SOURCES[name.partition('/')[0]], 'output': 'out', **more}
    return Configuration.checked(None, {path: Given(path, value) for path, value in given.items()})


def test_the_papers_experiments_are_there():
    networks = {name.partition('-')[0] for name in NAMES}
    assert networks == {
        'celeba/mobilenet_v2',
        'celeba/resnet18',
        'cifar10/mobilenet_v2',
        'cifar10/vgg19',
        'coco/fasterrcnn_resnet50_fpn',
        'coco/retinanet_resnet50_fpn',
        'coco/ssdlite320_mobilenet_v3_large',
        'imagenet/efficientnet_b0',
        'imagenet/mobilenet_v1',
        'imagenet/mobilenet_v2',
        'imagenet/resnet50',
    }


def run(model, images):
    """Run a model; of a detector the layers alone, since values decide what it detects."""
    if not hasattr(model, 'transform'):
        model(images)
        return
    features = list(model.backbone(images).values())
    if hasattr(model, 'head'):
        model.head(features)
        return
    model.rpn.head(features)
    boxes = torch.zeros(PROPOSALS, model.backbone.out_channels, 7, 7, device='meta')
    model.roi_heads.box_predictor(model.roi_heads.box_head(boxes))


@pytest.mark.parametrize('name', NAMES)
def test_a_recipe_is_a_job_whose_network_has_its_macs(name):
    recipe, made = Recipe.load(name), configuration_of(name)
    assert made['recipe'] == name
    assert made['search.full']
    arguments = {**made['model.args'], 'num_classes': CLASSES[name.partition('/')[0]]}
    # An SSD looks at the sizes of its backbone's outputs when it is made.
    with torch.device('cpu' if 'ssd' in name else 'meta'):
        model = load_model(made['model.name'], arguments=arguments).eval()
    model.to('meta')
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run(model, torch.zeros(made['model.input'], device='meta'))
    assert counter.get_total_flops() == 2 * recipe.macs
    assert CostLimit.of('macs', made['budget'], 'budget').within(recipe.macs) < recipe.macs
    assert recipe.source.strip()
    assert name.endswith(recipe.budget) or (name, recipe.budget) == ('imagenet/efficientnet_b0-385M', '385.815M')
    refuse_without_consent(made, typed=(), place='a file', trusted=False)  # they name no code of others


def test_networks_of_our_own_are_named():
    used = {Recipe.load(name).job['model']['name'].rpartition(':')[2] for name in NAMES}
    assert set(NETWORKS) <= used


@pytest.mark.parametrize('recipe', all_recipes(), ids=NAMES)
def test_a_search_costs_no_more_than_the_training_of_its_supernet(recipe):
    cost = recipe.cost()
    assert cost['search'] <= cost['supernet']
    assert set(cost) == {'supernet', 'search', 'networks'}


def test_a_cost_by_hand():
    recipe = Recipe.load('cifar10/vgg19-199M')
    full, budget, images, epochs = 398_136_320, 199_000_000, 50_000, 500
    assert recipe.cost() == {
        'supernet': round(4 * 0.33 * full * 0.9 * images * epochs),  # two forwards and a backward
        'search': round(2000 * 2 * (20 * 128 + 0.1 * images) * budget),
        'networks': round(3 * (2 * budget + full) * images * epochs),
    }


# --- words ----------------------------------------------------------------------------------------


def test_a_recipe_gives_defaults_that_options_override():
    made = configuration_of('imagenet/resnet50-2G', **{'training.lr': 0.4, 'budget': '1G'})
    assert (made['training.lr'], made['budget'], made['training.weight_decay']) == (0.4, '1G', 1e-4)
    assert made['space.bins'] == '16:256'


def test_what_has_no_effect_beside_an_option_is_left_out():
    made = configuration_of('imagenet/efficientnet_b0-193M', **{'training.schedule': 'cosine'})
    assert (made['training.step_epochs'], made['training.step_factor'], made['training.lr']) == (None, None, 0.048)
    made = configuration_of('cifar10/vgg19-199M', **{'model.weights': 'vgg.pt'})
    assert not made['search.full']  # networks of trained weights are fine-tuned
    with pytest.raises(ConfigurationError, match='training.step_epochs: 3: has no effect with schedule='):
        configuration_of('cifar10/vgg19-199M', **{'training.step_epochs': 3})


def test_a_file_may_name_a_recipe(tmp_path):
    file = tmp_path / 'job.yaml'
    file.write_text('recipe: cifar10/vgg19-199M\ntraining: {epochs: 7}\ndata: {source: digits}\noutput: x\n')
    made = Configuration.checked(str(file), {})
    assert (made['training.epochs'], made['training.finetune_epochs']) == (7, 500)


def test_fields_are_set_by_their_paths():
    given = set_fields(['training.epochs=1', 'seed=3', 'model.args={width: 8}', 'training.loggers=[wandb]'])
    assert {path: each.value for path, each in given.items()} == {
        'training.epochs': 1,
        'seed': 3,
        'model.args': {'width': 8},
        'training.loggers': ['wandb'],
    }
    assert given['seed'].where == '--set seed'


@pytest.mark.parametrize(
    ('words', 'says'),
    [
        (['training.epoch=1'], 'training.epoch: is not a field; did you mean training.epochs'),
        (['epochs=1'], 'epochs: is not a field; did you mean training.epochs'),
        (['training.epochs'], '--set training.epochs: write a field and its value'),
    ],
)
def test_fields_that_cannot_be_set(words, says):
    with pytest.raises(ConfigurationError, match=says):
        set_fields(words)


def test_a_fraction_of_everything():
    made = with_fraction(configuration_of('imagenet/efficientnet_b0-193M'), 0.01)
    assert (made['training.epochs'], made['training.finetune_epochs'], made['data.fraction']) == (5, 5, 0.01)
    assert (made['training.warmup_epochs'], made['training.step_epochs']) == (0.05, 0.024)
    assert (made['search.population'], made['search.generations'], made['search.finalists']) == (4, 2, 1)
    assert (made['search.statistics_batches'], made['search.holdout']) == (1, 0.1)
    with pytest.raises(ConfigurationError, match='--fraction 2: must be above 0 and at most 1'):
        with_fraction(made, 2)


@pytest.mark.parametrize(
    ('name', 'says'),
    [
        ('imagenet/mobilenetv2-300M', 'did you mean imagenet/mobilenet_v2-300M or'),
        ('resnet50-2G', 'did you mean imagenet/resnet50-2G or'),
        ('nothing', "recipe 'nothing': there is none of this name; all: nni-cafenet recipes"),
    ],
)
def test_an_unknown_recipe(name, says, capsys):
    assert cli.main(['search', '--recipe', name, '--data', 'digits', '--output', 'out']) == 2
    assert says in capsys.readouterr().err


def test_the_list(capsys):
    assert cli.main(['recipes']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(NAMES) + 2
    row = next(line for line in lines if 'imagenet/mobilenet_v2-207M ' in line)
    assert [cell.strip() for cell in row.split('|')[3:6]] == ['ImageNet (ILSVRC 2012)', '207M', '73 (AutoSlim, 207M)']


def test_one_of_them(capsys):
    assert cli.main(['recipes', 'imagenet/efficientnet_b0-385M']) == 0
    out = capsys.readouterr().out
    assert '  77.29  CafeNet, 385M MACs\n' in out
    assert 'nni-cafenet search --recipe imagenet/efficientnet_b0-385M --data imagefolder:DIR --output RUN' in out
    job = yaml.safe_load(out[out.index('model:\n') :])
    assert job['training']['randaugment'] == 9
