"""A report with something in every section, and what a picture says."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from nni_cafenet.report.records import CandidateRecord, LayerCost, NetworkRecord, RunReport


@pytest.fixture
def texts_of():
    """``texts_of(svg)``: all texts in a picture."""

    def texts_of(svg: str) -> list[str]:
        nodes = ET.fromstring(svg).iter('{http://www.w3.org/2000/svg}text')
        return [''.join(node.itertext()).strip() for node in nodes]

    return texts_of


@pytest.fixture(scope='session')
def report_with():
    """``report_with(groups)``: a report of networks of so many groups; further values replace those that it has."""

    def report_with(groups: int = 3, **changes) -> RunReport:
        full = {f'body.conv{number}': 64 for number in range(groups)}
        slim = {label: 16 + number % 40 for number, label in enumerate(full)}

        def layers(widths):
            convolutions = tuple(LayerCost(label, 1000 * width, label) for label, width in widths.items())
            return (*convolutions, LayerCost('fc', 640), LayerCost('', 5))

        networks = (
            NetworkRecord('full', 'full', full, 2_000_000, 9000, before=0.91, measured_ns=5.1e6, layers=layers(full)),
            NetworkRecord('uniform (baseline)', 'baseline', slim, 990_000, 4000, inherited=0.5, finetuned=0.75),
            NetworkRecord(
                'pruned to 50%',
                'pruned',
                slim,
                999_000,
                3000,
                inherited=0.625,
                finetuned=0.875,
                predicted_ns=2.4e6,
                measured_ns=2.5e6,
                layers=layers(slim),
            ),
        )
        candidates = (
            CandidateRecord(999_000, 3000, 0.25, chosen=True),
            CandidateRecord(600_000, 2000, 0.5),
            CandidateRecord(800_000, 2500, 0.75),
            CandidateRecord(900_000, 2900, math.nan),
        )
        values = {
            'title': 'Net pruned to 50%',
            'model': 'Net',
            'settings': {'budget': '50%', 'seed': '0'},
            'full_widths': full,
            'networks': networks,
            'metric': 'accuracy',
            'candidates': candidates,
            'budgets': {'50%': 1_000_000},
            'curves': {
                'supernet': {'loss': ((0, 2.25), (1, 1.5))},
                'fine-tuning': {'loss': ((0, 1.0), (1, math.inf)), 'accuracy': ((0, 0.5), (1, 0.75))},
            },
            'notes': ('fc keeps its channels: it is an output of the model.',),
            'loading': ('import torch', 'model = 1'),
        }
        return RunReport(**{**values, **changes})

    return report_with
