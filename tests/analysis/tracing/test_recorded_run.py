"""Models that torch.export rejects, followed by what one real run does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nni_cafenet import WidthSpace
from nni_cafenet.analysis.tracing.meta_run import sizes_depend_on_values
from nni_cafenet.analysis.tracing.operators import operators_of
from nni_cafenet.analysis.tracing.recorded_run import READS, record, values_seen
from nni_cafenet.errors import TraceError
from nni_cafenet.graph.example_input import ExampleInput

PICTURE = (1, 3, 8, 8)


class Chosen(nn.Module):
    """Two layers, then the positions with a positive score: how many there are depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.b = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        scores = self.b(self.norm(self.a(x)).relu()).flatten()
        kept = scores[scores > 0]
        order = [int(position) for position in torch.arange(min(len(kept), 3))]
        return kept[order] if kept.max() > 0 else kept


class Reading(nn.Module):
    """Reads values in a given way in between of two layers."""

    def __init__(self, read) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 1)
        self.b = nn.Conv2d(6, 2, 1)
        self.read = read

    def forward(self, x):
        x = self.a(x)
        return self.b(x) if self.read(x) else self.b(-x)


def test_the_operators_and_tensors_of_a_run():
    model = Chosen().eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    module, tensors, _ = record(model, ExampleInput.of(PICTURE, model))
    graph = module.graph
    names = [str(node.target).rpartition('.')[0] for node in graph.nodes if node.op == 'call_function']
    assert names[:5] == ['aten.conv2d', 'aten.batch_norm', 'aten.relu', 'aten.conv2d', 'aten.flatten']
    assert list(tensors.values()) == [*dict(model.named_parameters()), *dict(model.named_buffers())]
    conv = next(node for node in graph.nodes if node.op == 'call_function')
    assert [tensors.get(node.name) for node in conv.all_input_nodes] == [None, 'a.weight', 'a.bias']
    assert tuple(conv.meta['val'].shape) == (1, 6, 8, 8)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_models_whose_sizes_depend_on_values_are_not_exported_first(monkeypatch):
    def export(*given, **options):
        raise AssertionError('is exported')

    class Padded(Chosen):
        """As detectors do: a picture written into a part of a batch, and sizes that its code holds."""

        sizes = torch.tensor([1.0, 2.0])

        def forward(self, x):
            batch = x.new_zeros(1, 3, 10, 10)
            batch[0, :, :8, :8].copy_(x[0])
            return super().forward(batch) * self.sizes.sum()

    monkeypatch.setattr(torch.export, 'export', export)
    for model in (Chosen().eval(), Padded().eval()):
        assert operators_of(model, ExampleInput.of(PICTURE, model)).recorded


@pytest.mark.parametrize(
    ('choose', 'depends'),
    [
        (lambda x: x[x > 0], True),
        (lambda x: torch.nonzero(x), True),
        (lambda x: torch.masked_select(x, x > 0), True),
        (lambda x: x[:, torch.tensor([1, 0])], False),
        (lambda x: x.topk(2).values, False),
    ],
)
def test_whether_sizes_depend_on_values(wired, choose, depends):
    model = wired(lambda net, x: choose(net.a(x)), a=nn.Conv2d(3, 4, 1)).eval()
    assert sizes_depend_on_values(model, ExampleInput.of(PICTURE, model)) is depends


def test_what_runs_after_python_has_seen_values():
    def run(model, x):
        shape = int(torch.tensor(x.shape).max())  # a value, but not one that the run could change
        y = model(x) * shape
        return y + 1 if y.sum() > 0 else y - 1

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x):
            return run(self.a, x)

    model = Model()
    graph = record(model, ExampleInput.of((4, 3), model))[0].graph
    nodes = [node for node in graph.nodes if node.op in ('call_function', 'output')]
    reads = [index for index, node in enumerate(nodes) if str(node.target).rpartition('.')[0] in READS]
    assert len(reads) == 2
    assert values_seen(graph) == set(nodes[reads[1] + 1 :])


@pytest.mark.parametrize(
    'read',
    [
        lambda x: x.sum() > 0,
        lambda x: x.mean().item() > 0,
        lambda x: int(x.argmax()) > 0,
        lambda x: x.flatten().tolist()[0] > 0,
        lambda x: x.detach().numpy().sum() > 0,
        lambda x: np.asarray(x.detach()).sum() > 0,
    ],
)
def test_values_read_before_a_layer_are_refused(read):
    with pytest.raises(TraceError, match='torch.export rejects'):
        WidthSpace(Reading(read), example_input=PICTURE)


def test_a_layer_that_the_run_does_not_reach_is_refused():
    class Exit(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 5), nn.Linear(5, 2), nn.Linear(5, 2)

        def forward(self, x):
            y = self.a(x)
            z = self.b(y)
            return z if z.norm() >= 0 else self.c(y)

    with pytest.raises(TraceError, match='Exit cannot be analyzed'):
        WidthSpace(Exit(), example_input=(2, 3))


def test_a_model_of_chosen_positions_is_exact():
    torch.manual_seed(0)
    model = Chosen().eval()
    assert operators_of(model, ExampleInput.of(PICTURE, model)).recorded
    space = WidthSpace(model, example_input=PICTURE).double()
    assert space.labels == ('a',)
    assert [record.label for record in space.graph.fixed] == ['b']
    channel_set = {'a': torch.tensor([1, 2, 5])}
    space.eval().activate({'a': 3}, channel_set)
    slim = space.slim({'a': 3}, channel_set)
    pictures = torch.randn(PICTURE, dtype=torch.float64)
    torch.testing.assert_close(space(pictures), slim(pictures), rtol=0, atol=0)
    with FlopCounterMode(display=False) as counter:
        slim(pictures)
    assert space.macs({'a': 3}) == counter.get_total_flops() // 2


def test_a_detector_is_followed_from_the_backbone_to_its_heads(detector, caplog):
    space = WidthSpace(detector(), example_input=(1, 3, 64, 64))
    assert 'keep their width' not in caplog.text
    assert space.full_widths == {
        'backbone.0': 12,
        'backbone.3': 16,
        'rpn.head.conv.0.0': 16,
        'roi_heads.box_head.fc6': 20,
        'roi_heads.box_head.fc7': 20,
    }
    fixed = {record.label for record in space.graph.fixed}
    assert fixed == {
        'rpn.head.cls_logits',
        'rpn.head.bbox_pred',
        'roi_heads.box_predictor.cls_score',
        'roi_heads.box_predictor.bbox_pred',
    }


@pytest.mark.parametrize('training', [False, True])
def test_a_detector_is_exact(detector, training):
    space = WidthSpace(detector(), example_input=(1, 3, 64, 64)).double().train(training)
    rng = np.random.default_rng(0)
    for _ in range(3):
        sets = {
            label: np.sort(rng.choice(full, int(rng.integers(1, full + 1)), replace=False))
            for label, full in space.full_widths.items()
        }
        widths = {label: len(chosen) for label, chosen in sets.items()}
        space.activate(widths, sets)
        slim = space.slim(widths, sets)
        pictures = [torch.rand(3, 64, 64, dtype=torch.float64)]
        boxes = torch.tensor([[4.0, 4.0, 40.0, 30.0], [10.0, 20.0, 60.0, 60.0]], dtype=torch.float64)
        targets = [{'boxes': boxes, 'labels': torch.tensor([1, 2])}] if training else None
        outputs = []
        for model in (space, slim):
            torch.manual_seed(1)
            outputs.append(torch.utils._pytree.tree_leaves(model(pictures, targets)))
        assert len(outputs[0]) == (4 if training else 3)
        assert all(leaf.numel() > 0 for leaf in outputs[0])
        torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-9, atol=1e-12)
        assert space.params(widths) == sum(parameter.numel() for parameter in slim.parameters())


def test_a_wrong_reading_of_a_detector_that_finds_nothing_is_noticed(detector, monkeypatch):
    from nni_cafenet.analysis.rules import registry

    def wrong(call, x, regions, *_):  # the channels come out in the other order, says this rule
        return (None, x.dims[1][::-1], None, None)

    monkeypatch.setitem(registry._RULES, 'torchvision.roi_align', wrong)
    model = detector()
    model.roi_heads.score_thresh = 2.0
    space = WidthSpace(model, example_input=(1, 3, 64, 64))
    assert 'backbone.3' not in space.labels
    assert 'roi_heads.box_head.fc6' in space.labels


@pytest.mark.parametrize(
    ('read', 'seen'), [(lambda sizes: int(sizes[0]), False), (lambda sizes: sizes.tolist()[0], True)]
)
def test_a_step_size_of_a_packed_sequence_is_no_value_that_counts(read, seen):
    class Packs(nn.Module):
        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
            return packed.data.sum() + torch.zeros(read(packed.batch_sizes)).sum()

    graph = record(Packs(), ExampleInput.of(torch.randn(2, 3, 4), Packs()))[0].graph
    assert bool(values_seen(graph)) is seen


def test_sizes_that_an_export_leaves_open():
    """As in FastSpeech: each token is repeated as often as its predicted duration says."""

    class Speech(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.duration = nn.Embedding(9, 12), nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 1))
            self.conv, self.out = nn.Conv1d(12, 10, 3, padding=1), nn.Linear(10, 4)

        def forward(self, tokens):
            x = self.embedding(tokens)
            frames = (self.duration(x).squeeze(-1).abs() * 2).long().clamp(1, 3)
            x = nn.utils.rnn.pad_sequence([x[i].repeat_interleave(frames[i], 0) for i in range(len(x))], True)
            return self.out(self.conv(x.transpose(1, 2)).relu().transpose(1, 2))

    space = WidthSpace(Speech(), example_input=torch.tensor([[1, 2, 3], [4, 5, 6]]))
    assert space.full_widths == {'duration.0': 8, 'conv': 10}
