from __future__ import annotations

import copy

import pytest
import torch

from nni_cafenet import LatencyTable, WidthSpace
from nni_cafenet.latency.table import measure_table


@pytest.fixture
def measure(joined, computed):
    def measure(clock=None, **options):
        clock = computed() if clock is None else clock
        return measure_table(joined, progress=False, clock=clock, **{'rounds': 2, 'networks': 2, **options}), clock

    return measure


def test_equal_operators_are_measured_once_a_round(measure):
    table, clock = measure()
    operators = [key for key in clock.asked if key != 'network']
    assert all(operators.count(key) == 2 for key in set(operators))
    networks = clock.asked.count('network')
    assert 2 * 9 <= networks <= 2 * (3 + 2 + 6)  # full, half, smallest; two random; six held out; a few are the same
    again, _ = measure()
    assert again == table


def test_the_space_and_the_random_generators_are_left_alone(joined, measure):
    joined.train()
    before = copy.deepcopy(joined.state_dict())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    measure()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(tensor, before[name]) for name, tensor in joined.state_dict().items())
    assert joined.training
    joined.eval()


def test_a_killed_measurement_goes_on_where_it_was(measure, computed, tmp_path, monkeypatch):
    monkeypatch.setattr('nni_cafenet.latency.cache._EVERY', 0.0)

    class Killed(computed):
        left = 40

        def operator(self, operator):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().operator(operator)

    whole, clock = measure()
    wanted = len(clock.asked)
    cache = tmp_path / 'times.jsonl'
    with pytest.raises(KeyboardInterrupt):
        measure(Killed(), cache=cache)
    table, clock = measure(cache=cache)
    assert len(clock.asked) == wanted - 40
    assert table == whole
    table, clock = measure(cache=cache)
    assert clock.asked == []
    assert table == whole
    _, clock = measure(cache=cache, rounds=3)
    assert len(clock.asked) == wanted // 2  # one round more


def test_times_of_other_environments_do_not_count(measure, computed, tmp_path):
    cache = tmp_path / 'times.jsonl'
    _, first = measure(computed(threads=1), cache=cache)
    _, second = measure(computed(threads=2), cache=cache)
    assert len(second.asked) == len(first.asked)


def test_networks_of_other_batches_are_timed_anew(measure, tmp_path):
    cache = tmp_path / 'times.jsonl'
    _, first = measure(cache=cache)
    table, clock = measure(cache=cache, batch=3)
    assert clock.asked.count('network') == first.asked.count('network')
    assert table.batch == 3
    assert "'batch': 3" in str(table.to_json())


def test_what_cannot_be_measured_alone_is_left_to_the_offset(measure, computed):
    class Fails(computed):
        def operator(self, operator):
            if 'cat' in operator.name:
                raise RuntimeError('index out of range')
            return super().operator(operator)

    table, _ = measure(Fails())
    shares = {share.operator: share for share in table.shares}
    assert shares['aten.cat.default'].time is None
    assert 'Operators without a time do not run at all widths, or not alone' in str(table)
    assert table.shares[-1].operator == 'aten.cat.default'
    assert table.calibration.offset > 5000


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'batch': 0}, 'batch=0 must be a whole number, 1 or more'),
        ({'batch': 2.5}, 'batch=2.5 must be a whole number'),
        ({'points': 1}, 'points=1 must be a whole number, 2 or more'),
        ({'rounds': 0}, 'rounds=0 must be'),
        ({'networks': -1}, 'networks=-1 must be a whole number, 0 or more'),
        ({'held_out': 1}, 'held_out=1 must be a whole number, 2 or more'),
        ({'threads': 0}, 'threads=0 must be'),
        ({'device': 'abacus'}, "device='abacus' is not a device of torch"),
        ({'device': 'meta'}, "device='meta': nothing can be timed on meta"),
    ],
)
def test_bad_options_are_refused_before_any_work(joined, options, said):
    with pytest.raises(ValueError, match=said):
        LatencyTable.measure(joined, progress=False, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='CUDA is here')
def test_cuda_that_is_not_there(joined):
    with pytest.raises(
        ValueError, match="device='cuda': CUDA is not available here. Use device='cpu', or measure on another machine"
    ):
        LatencyTable.measure(joined, device='cuda')


def test_a_model_without_values_is_refused():
    space = WidthSpace(
        torch.nn.Sequential(torch.nn.Linear(4, 8, device='meta'), torch.nn.Linear(8, 2, device='meta')),
        example_input=(1, 4),
        verify=False,
    )
    with pytest.raises(ValueError, match=r'meta device.*LatencyTable\.measure needs a model with values'):
        LatencyTable.measure(space, progress=False)
