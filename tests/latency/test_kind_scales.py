from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from nni_cafenet.latency.clock import Timing
from nni_cafenet.latency.kind_scales import kind_of
from nni_cafenet.latency.recorded_ops import Operator, recorded_operators
from nni_cafenet.latency.table import measure_table

SCALES = {
    'aten.convolution.default': 3.0,
    'aten.convolution.default (grouped)': 0.5,
    'aten.native_batch_norm.default': 0.0,
}


@pytest.fixture
def fused(computed):
    """A clock in whose networks each kind of operator has a scale of its own."""

    class Fused(computed):
        def model(self, model, example, *, warmup=3, repeats=10, name='') -> Timing:
            operators = recorded_operators(model, example)
            total = sum(SCALES.get(kind_of(each), 1.0) * self.operator(each) for each in operators)
            return Timing.of([round(total) + 5000])

    return Fused()


def test_each_kind_has_its_scale(joined, fused, monkeypatch):
    table = measure_table(joined, progress=False, clock=fused, rounds=1, networks=40, held_out=10)
    assert table.error.worst < 0.02
    rng = np.random.default_rng(1)
    for _ in range(5):
        widths = {label: int(rng.choice(allowed)) for label, allowed in joined.choices.items()}
        real = fused.model(joined.slim(widths).eval(), joined.example_input).median
        assert table.latency(widths) == pytest.approx(real, rel=0.03)
    assert 'in a network' in str(table)
    monkeypatch.setattr('nni_cafenet.latency.kind_scales._PULL', 1e9)  # the common scale for all
    alike = measure_table(joined, progress=False, clock=fused, rounds=1, networks=40, held_out=10)
    assert alike.error.worst > 3 * table.error.worst


def test_few_networks_do_not_invent_scales(joined, computed):
    table = measure_table(joined, progress=False, clock=computed(), rounds=1, networks=0)
    assert {round(share.scale, 3) for share in table.shares} == {2.0}
    record = table.to_json()
    assert record['shares'][0]['scale'] == table.shares[0].scale
    assert dataclasses.replace(table, runtime='onnxruntime').fingerprint() != table.fingerprint()


def test_kinds():
    def convolution(groups: int) -> Operator:
        return Operator('aten.convolution.default', json.dumps([[0, 0, 0, 0, 0, 0, False, 0, groups], {}]))

    assert kind_of(convolution(1)) == 'aten.convolution.default'
    assert kind_of(convolution(4)) == 'aten.convolution.default (grouped)'
    assert kind_of(Operator('aten.relu.default', '[[], {}]')) == 'aten.relu.default'
