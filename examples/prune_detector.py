"""Prune a detector: a small Faster R-CNN on generated pictures in COCO's format, to half of its MACs.

A detector of torchvision returns its losses in training, so that `prune` needs no loss function; the metric is a function
of what it detects and what is there. About two minutes on two cores.

    python examples/prune_detector.py --output pruned-detector
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, box_iou
from torchvision.transforms.functional import pil_to_tensor

from nni_cafenet import RandomSearch, prune

SIZE = 64
CATEGORIES = ('box', 'disc')


# --- data in COCO's format ------------------------------------------------------------------------


def generate(folder: Path, count: int, seed: int) -> Path:
    """Draw pictures of boxes and discs, and write their annotations as COCO does; what is there is not drawn again."""
    record = folder / 'annotations.json'
    if record.exists():
        return record
    folder.mkdir(parents=True, exist_ok=True)
    draw_number = torch.Generator().manual_seed(seed)

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=draw_number))

    images, annotations = [], []
    for number in range(count):
        color = between(60, 120)
        picture = Image.new('RGB', (SIZE, SIZE), (color, color, between(60, 120)))
        pen = ImageDraw.Draw(picture)
        for _ in range(between(1, 4)):
            category, width = between(1, 3), between(14, 28)
            left, top = between(0, SIZE - width), between(0, SIZE - width)
            shape = pen.rectangle if category == 1 else pen.ellipse
            shape((left, top, left + width, top + width), fill=(between(130, 255), between(0, 255), between(0, 90)))
            annotations.append(
                {'id': len(annotations) + 1, 'image_id': number, 'category_id': category, 'iscrowd': 0}
                | {'bbox': [left, top, width, width], 'area': width * width}
            )
        name = f'{number:05d}.png'
        picture.save(folder / name)
        images.append({'id': number, 'file_name': name, 'width': SIZE, 'height': SIZE})
    categories = [{'id': index, 'name': name} for index, name in enumerate(CATEGORIES, start=1)]
    record.write_text(json.dumps({'images': images, 'annotations': annotations, 'categories': categories}))
    return record


class CocoPictures(Dataset):
    """Pictures (3, height, width) and targets as torchvision's detectors take them, out of a COCO annotation file."""

    def __init__(self, annotations: Path) -> None:
        record = json.loads(annotations.read_text())
        self.folder = annotations.parent
        self.images = record['images']
        self.annotations: dict[int, list[dict]] = {image['id']: [] for image in self.images}
        for each in record['annotations']:
            self.annotations[each['image_id']].append(each)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        image = self.images[index]
        found = self.annotations[image['id']]
        boxes = torch.tensor([each['bbox'] for each in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]  # from width and height to the lower right corner
        labels = torch.tensor([each['category_id'] for each in found])
        picture = pil_to_tensor(Image.open(self.folder / image['file_name'])).float() / 255
        return picture, {'boxes': boxes, 'labels': labels}


def collate(samples):
    """Keep pictures and targets as lists."""
    pictures, targets = zip(*samples)
    return list(pictures), list(targets)


# --- the detector ---------------------------------------------------------------------------------


class Backbone(nn.Sequential):
    """Four convolutions, 8 pixels to one."""

    def __init__(self, width: int = 16) -> None:
        widths = (3, width, 2 * width, 4 * width, 4 * width)
        layers = []
        for index, (channels_in, channels) in enumerate(zip(widths, widths[1:])):
            stride = 2 if index < 3 else 1
            layers += [nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        super().__init__(*layers)
        self.out_channels = 4 * width


def detector() -> FasterRCNN:
    """Return a small Faster R-CNN."""
    return FasterRCNN(
        Backbone(),
        rpn_anchor_generator=AnchorGenerator(((16, 24, 32),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(['0'], 5, 2),
        min_size=SIZE,
        max_size=SIZE,
        rpn_pre_nms_top_n_train=100,
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_train=50,
        rpn_post_nms_top_n_test=50,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=32,
        box_head=nn.Sequential(nn.Flatten(1), nn.Linear(64 * 25, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()),
        box_predictor=Predictor(128, 1 + len(CATEGORIES)),
    )


class Predictor(nn.Module):
    """Classes and boxes of the regions."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(channels, classes)
        self.boxes = nn.Linear(channels, 4 * classes)

    def forward(self, x):
        return self.classes(x), self.boxes(x)


def f1(detections, targets) -> float:
    """F1 of boxes that are detected with a score of 0.5 or more, at an overlap (IoU) of 0.5, each with its class."""
    right = wrong = missed = 0
    for found, there in zip(detections, targets):
        sure = found['scores'] >= 0.5
        overlap = box_iou(found['boxes'][sure], there['boxes']) >= 0.5
        overlap &= found['labels'][sure][:, None] == there['labels']
        hits = int(overlap.any(0).sum()) if overlap.numel() else 0
        right, wrong, missed = right + hits, wrong + int(sure.sum()) - hits, missed + len(there['labels']) - hits
    return 2 * right / max(1, 2 * right + wrong + missed)


def train_detector(model: FasterRCNN, loader: DataLoader, epochs: int) -> None:
    """Train it as torchvision's reference does: the losses that it returns are summed."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(loader))
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for pictures, targets in loader:
            loss = sum(model(pictures, targets).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss)
        print(f'epoch {epoch + 1} of {epochs}: loss {total / len(loader):.3f}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, default=Path('pruned-detector'), help='folder (default: %(default)s)')
    parser.add_argument('--budget', default='50%', help='MACs of the pruned detector (default: 50%%)')
    parser.add_argument('--pictures', type=int, default=320, help='training pictures (default: %(default)s)')
    parser.add_argument('--epochs', type=int, default=12, help='epochs of the detector (default: %(default)s)')
    options = parser.parse_args()

    torch.manual_seed(0)
    train = CocoPictures(generate(options.output / 'data' / 'train', options.pictures, seed=1))
    test = CocoPictures(generate(options.output / 'data' / 'test', options.pictures // 4, seed=2))
    train_loader = DataLoader(train, 8, shuffle=True, collate_fn=collate)
    test_loader = DataLoader(test, 8, collate_fn=collate)
    model = detector()
    train_detector(model, train_loader, options.epochs)

    result = prune(
        model.eval(),
        options.budget,
        example_input=([torch.rand(3, SIZE, SIZE)],),
        train=train_loader,
        validate=test_loader,
        metric={'f1': f1},
        epochs=2,
        finetune_epochs=5,
        search=RandomSearch(16),
        statistics_batches=4,  # a detector's forward is slow: its boxes are chosen picture by picture
        distill=False,  # in training it returns losses, from which nothing can be distilled
        directory=options.output / 'run',
    )
    print(result.report)
    print('Widths:', result.widths)
    print('The pruned detector is in', result.directory)


if __name__ == '__main__':
    main()
