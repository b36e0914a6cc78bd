from __future__ import annotations

import pytest
import torch
from torch import nn

from nni_cafenet import LatencyTable, export_onnx, time_model
from nni_cafenet.errors import MissingExtraError
from nni_cafenet.latency.runtimes import FunctionClock, OnnxClock, check_runtime, clock_of, runtime_name


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x).relu().mean((2, 3))


def on_a_phone(model, example) -> float:
    return 0.25 * sum(tensor.shape[0] for tensor in example.tensors())


def test_onnxruntime_times_the_exported_network(monkeypatch, tmp_path):
    pytest.importorskip('onnxruntime')
    seen = []

    def exported(model, path, example, **options):
        seen.append(path)
        return export_onnx(model, path, example, **options)

    monkeypatch.setattr('nni_cafenet.latency.runtimes.export_onnx', exported)
    timing = time_model(Small(), (1, 3, 8, 8), runtime='onnxruntime', threads=1, warmup=1, repeats=5)
    assert 0 < timing.low <= timing.median <= timing.high
    assert timing.runs == 5
    clock = OnnxClock(threads=1)
    assert clock.describe().startswith('onnxruntime ')
    assert 'CPUExecutionProvider' in clock.describe()
    assert '1 thread' in clock.describe()
    for name in ('a', 'a', 'b'):
        time_model(Small(), (1, 3, 8, 8), clock=clock, warmup=0, repeats=1, name=name)
    assert len(seen) == 1 + 2  # equal names are exported once
    folder = seen[-1].parent
    del clock
    assert not folder.exists()


def test_a_function_times_it_elsewhere():
    timing = time_model(Small(), (1, 3, 8, 8), batch=2, runtime=on_a_phone)
    assert (timing.median, timing.runs) == (500_000_000, 1)
    assert FunctionClock(on_a_phone).describe().endswith('test_runtimes.on_a_phone()')


@pytest.mark.parametrize('returned', [None, 0, -1.0, float('nan'), float('inf'), 'fast'])
def test_a_function_must_return_seconds(returned):
    with pytest.raises(ValueError, match=r'must return the seconds of one call of the network, a number above 0'):
        time_model(Small(), (1, 3, 8, 8), runtime=lambda model, example: returned)


def test_what_is_no_runtime(monkeypatch):
    for runtime in ('tensorrt', 'torch:cuda', 7, None, ''):
        with pytest.raises(
            ValueError, match=r"must be 'torch', 'onnxruntime', 'onnxruntime:' and a provider, or a func"
        ):
            check_runtime(runtime)
    with pytest.raises(ValueError, match=r"device='cuda' is a device of torch, but runtime='onnxruntime'"):
        clock_of('onnxruntime', 'cuda')
    with pytest.raises(ValueError, match=r'has no AbacusProvider here, but .*CPUExecutionProvider'):
        check_runtime('onnxruntime:AbacusProvider')
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(MissingExtraError, match=r"runtime='onnxruntime' needs .*pip install 'nni-cafenet\[onnx\]'"):
        check_runtime('onnxruntime')


def test_names():
    assert runtime_name('onnxruntime') == 'onnxruntime'
    assert runtime_name(on_a_phone).endswith('on_a_phone()')


def test_a_table_of_a_function(joined):
    def device(model, example) -> float:
        return 1e-9 * (5000 + 7 * sum(p.numel() for p in model.parameters()))

    table = LatencyTable.measure(joined, runtime=device, rounds=1, networks=8, progress=False)
    assert table.runtime.endswith('device()')
    assert table.environment == table.runtime
    assert table.latency(joined.full_widths) > table.latency(joined.smallest_widths)
    again = LatencyTable.from_json(table.to_json())
    assert again == table
    with pytest.raises(ValueError, match='device'):
        LatencyTable.measure(joined, runtime=device, device='cuda', progress=False)


def test_a_table_of_onnxruntime(joined):
    pytest.importorskip('onnxruntime')
    before = torch.get_num_threads()
    table = LatencyTable.measure(
        joined, runtime='onnxruntime', threads=1, rounds=1, networks=0, held_out=2, progress=False
    )
    assert (table.runtime, table.device) == ('onnxruntime', 'cpu')
    assert 'onnxruntime' in str(table)
    assert torch.get_num_threads() == before
