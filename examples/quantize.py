"""Prune a trained network, then quantize it to int8: accuracy, file size and latency of each step.

The network is trained on Fashion-MNIST (Debian: apt-get install dataset-fashion-mnist), pruned to a budget by `prune`, and
exported to ONNX. ONNX Runtime quantizes both networks statically: it runs calibration pictures, notes the range of every
activation, and writes a file whose convolutions compute with 8-bit integers. Calibration sees training pictures only; the
accuracies are those of test pictures that nothing else sees.

    pip install 'nni-cafenet[onnx]'
    python examples/quantize.py --output quantized
    python examples/quantize.py --output quantized --data pictures  # pictures/{train,test}/CLASS/*.png
    python examples/quantize.py --output quantized --pt2e           # beside it torch's own flow: pip install torchao

About a quarter of an hour on two cores; --pictures 2000 --epochs 1 shows in a few minutes what comes out. Killed? The same
command continues.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nni_cafenet import Evolution, WidthSpace, export_onnx, prune
from nni_cafenet.testing import FASHION_MNIST_FOLDER, StagedResNet, read_fashion_mnist

SIDE = 28


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--output', type=Path, default=Path('quantized'), help='folder of all files (default: %(default)s)')
    add('--data', type=Path, default=FASHION_MNIST_FOLDER, help='the files of Fashion-MNIST, or a folder with train/CLASS '
        'and test/CLASS of pictures, which are resized to 28 x 28 and made gray (default: %(default)s)')  # fmt: skip
    add('--budget', default='50%', help="what the slim network may cost: '50%%', '2M' (default: 50%%)")
    add('--pictures', type=int, default=12_000, help='training pictures used (default: %(default)s)')
    add('--epochs', type=int, default=6, help='epochs of the first training (default: %(default)s)')
    add('--supernet-epochs', type=int, default=2, help='epochs of the supernet (default: %(default)s)')
    add('--finetune-epochs', type=int, default=4, help='epochs of fine-tuning (default: %(default)s)')
    add('--calibration', type=int, default=512, help='training pictures for calibration (default: %(default)s)')
    add('--pt2e', action='store_true', help="quantize by torch's PT2E flow as well (needs torchao)")
    add('--rounds', type=int, default=40, help='rounds of 25 calls that are timed (default: %(default)s)')
    add('--seed', type=int, default=0, help='seed of everything (default: %(default)s)')
    options = parser.parse_args(arguments)
    for name in ('pictures', 'epochs', 'supernet_epochs', 'finetune_epochs', 'calibration', 'rounds'):
        if getattr(options, name) < 1:
            parser.error(f'--{name.replace("_", "-")} {getattr(options, name)} must be 1 or more.')
    needed = {'onnx': 'onnx', 'onnxscript': 'onnx', 'onnxruntime': 'onnx', **({'torchao': ''} if options.pt2e else {})}
    for package, extra in needed.items():
        if importlib.util.find_spec(package) is None:
            remedy = f"pip install 'nni-cafenet[{extra}]'" if extra else f'pip install {package}, or leave --pt2e out'
            parser.error(f'{package} is not installed: {remedy}.')
    return options


# --- data and training ----------------------------------------------------------------------------


def pictures_in(folder: Path, split: str) -> TensorDataset:
    """Return standardized pictures (N, 1, 28, 28) and their classes; of Fashion-MNIST, or of a folder of pictures."""
    if (folder / split).is_dir():
        from torchvision.datasets import ImageFolder
        from torchvision.transforms.v2 import Compose, Grayscale, PILToTensor, Resize

        found = ImageFolder(str(folder / split), Compose([Grayscale(), Resize((SIDE, SIDE)), PILToTensor()]))
        pixels, classes = torch.stack([picture for picture, _ in found]), torch.tensor(found.targets)
    else:
        arrays = read_fashion_mnist(folder, 'train' if split == 'train' else 'test')
        pixels, classes = torch.from_numpy(arrays[0])[:, None], torch.from_numpy(arrays[1])
    return TensorDataset((pixels.float() / 255 - 0.29) / 0.35, classes)


def trained_network(loader: DataLoader, classes: int, epochs: int, file: Path) -> nn.Module:
    """Return a network trained as usual, or read from the file of an earlier run; yours takes its place."""
    model = StagedResNet(((24, 24), (48, 48), (96, 96)), num_classes=classes)
    if file.exists():
        model.load_state_dict(torch.load(file, weights_only=True))
        return model.eval()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(loader), pct_start=0.2)
    for epoch in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f'epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}', flush=True)
    torch.save(model.state_dict(), file)
    return model.eval()


# --- quantization ---------------------------------------------------------------------------------


def quantize_onnx(file: Path, pictures: torch.Tensor) -> Path:
    """Quantize an ONNX file statically; weights and activations become int8, each filter by its own scale."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(pictures.split(64))

        def get_next(self) -> dict | None:
            batch = next(self.batches, None)
            return None if batch is None else {'x': batch.numpy()}

    folded = file.with_suffix('.folded.onnx')  # batch normalization becomes part of the convolutions
    quant_pre_process(str(file), str(folded), skip_symbolic_shape=True)
    made = file.with_suffix('.int8.onnx')
    quantize_static(
        str(folded),
        str(made),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        reduce_range=not adds_without_overflow(),
    )
    folded.unlink()
    return made


def adds_without_overflow() -> bool:
    """Whether the processor has instructions for products of 8-bit integers (VNNI, or those of ARM).

    Without them ONNX Runtime adds pairs of products in 16 bits, which overflow: weights of 7 bits do not.
    """
    if platform.machine().lower() not in ('x86_64', 'amd64', 'i386', 'i686'):
        return True
    try:
        return 'vnni' in Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        return False


def quantize_pt2e(model: nn.Module, pictures: torch.Tensor, file: Path) -> nn.Module:
    """Quantize a model by torch's export, for the operators of x86, and save it as a program of ``torch.export``."""
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    sizes = ({0: torch.export.Dim('batch', min=1, max=4096)},)
    example = (pictures[:2].clone(),)  # without the memory of all pictures: it is saved too
    exported = torch.export.export(model, example, dynamic_shapes=sizes).module()
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
    prepared = prepare_pt2e(exported, quantizer)
    with torch.no_grad():
        for batch in pictures.split(64):
            prepared(batch)
    converted = convert_pt2e(prepared)
    move_exported_model_to_eval(converted)
    torch.export.save(torch.export.export(converted, example, dynamic_shapes=sizes), file)
    return converted


# --- measurement ----------------------------------------------------------------------------------


def session_of(file: Path):
    """Load an ONNX file for one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])


def accuracy(run, data: TensorDataset) -> float:
    """Return the accuracy of ``run(pictures) -> scores``."""
    pictures, classes = data.tensors
    hits = [(torch.as_tensor(run(x)).argmax(1) == y).sum() for x, y in zip(pictures.split(500), classes.split(500))]
    return float(sum(hits)) / len(classes)


def latencies(files: list[Path], picture: torch.Tensor, rounds: int) -> Iterator[tuple[float, float, float]]:
    """Yield median, 10th and 90th percentile of a call in ms, for one picture; the files take turns, so that all see the
    same machine."""
    sessions = [session_of(file) for file in files]
    seconds: list[list[float]] = [[] for _ in files]
    for turn in range(rounds + 2):
        for session, found in zip(sessions, seconds):
            for _ in range(25):
                start = time.perf_counter()
                session.run(None, {'x': picture.numpy()})
                if turn >= 2:
                    found.append(time.perf_counter() - start)
    for found in seconds:
        tenths = statistics.quantiles(found, n=10)
        yield 1000 * statistics.median(found), 1000 * tenths[0], 1000 * tenths[-1]


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        return next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def measured(
    networks: dict[str, nn.Module], calibration: torch.Tensor, test: TensorDataset, options: argparse.Namespace
) -> list[list[str]]:
    """Export and quantize networks; return the rows of the table."""
    files = []
    for name, network in networks.items():
        file = options.output / f'{name}.onnx'
        export_onnx(network, file, (1, 1, SIDE, SIDE))
        files += [file, quantize_onnx(file, calibration)]
    rows = []
    for file, (median, low, high) in zip(files, latencies(files, test.tensors[0][:1], options.rounds)):
        session = session_of(file)
        right = accuracy(lambda x, session=session: session.run(None, {'x': x.numpy()})[0], test)
        name = file.name.removesuffix('.onnx').replace('.int8', ' + int8')
        rows.append([name, f'{right:.2%}', size_of(file), f'{median:.3f} ms', f'{low:.3f} to {high:.3f}'])
    if options.pt2e:
        for name, network in networks.items():
            file = options.output / f'{name}.int8.pt2'
            converted = quantize_pt2e(network, calibration, file)
            with torch.no_grad():
                rows.append([f'{name} + int8 by PT2E', f'{accuracy(converted, test):.2%}', size_of(file), '', ''])
    return rows


def size_of(file: Path) -> str:
    weights = Path(f'{file}.data')  # the exporter may put them beside the file
    return f'{(file.stat().st_size + (weights.stat().st_size if weights.exists() else 0)) / 1024:.0f} KB'


def main() -> None:
    options = options_of()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)  # the network is so small that a second thread costs more than it brings
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        train, test = (pictures_in(options.data, split) for split in ('train', 'test'))
    except (OSError, ValueError) as error:
        sys.exit(f'--data {options.data}: {error}')
    chosen = torch.randperm(len(train))[: options.pictures]
    train = TensorDataset(*train[chosen])
    loader = DataLoader(train, 64, shuffle=True)
    model = trained_network(loader, int(train.tensors[1].max()) + 1, options.epochs, options.output / 'trained.pt')
    result = prune(
        model,
        options.budget,
        example_input=(1, 1, SIDE, SIDE),
        train=loader,
        validate=DataLoader(test, 500),  # for the report only
        epochs=options.supernet_epochs,
        finetune_epochs=options.finetune_epochs,
        search=Evolution(population=12, generations=2),
        finalists=1,
        seed=options.seed,
        directory=options.output / 'pruned',
    )
    print(result.report)
    rows = measured({'trained': model, 'slim': result.model}, train.tensors[0][: options.calibration], test, options)
    import onnxruntime

    space = WidthSpace(model, example_input=(1, 1, SIDE, SIDE))
    print(
        f'\n{result.macs:,} of {space.macs(space.full_widths):,} MACs; {len(test):,} test pictures; a call for one picture '
        f'on {processor()}, one thread, onnxruntime {onnxruntime.__version__}, torch {torch.__version__}\n'
    )
    print('| network | accuracy | file | latency, median | 10th to 90th percentile |\n|---|---|---|---|---|')
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')


if __name__ == '__main__':
    main()
