"""The report of a run in its folder."""

from __future__ import annotations

import dataclasses
import math
import re
import xml.etree.ElementTree as ET

import pytest

from nni_cafenet.report.records import networks_table
from nni_cafenet.report.write import read_report, render_html, render_markdown, write_report
from nni_cafenet.utils.json_records import write_record


@pytest.fixture(scope='module')
def written(report_with, tmp_path_factory):
    """The folder of a report; pictures take their time, so it is written once."""
    folder = tmp_path_factory.mktemp('report') / 'out'
    assert write_report(folder, report_with()) == folder / 'report.html'
    return folder


def test_the_table_of_networks(report_with):
    table = networks_table(report_with())
    assert table.headers == [
        *('network', 'MACs', 'of full', 'parameters', 'latency measured', 'latency predicted'),
        *('accuracy before', 'accuracy inherited', 'accuracy fine-tuned'),
    ]
    assert table.rows[0] == ('full', '2,000,000', '100.0 %', '9,000', '5.10 ms', None, 0.91, None, None)
    assert table.rows[2] == ('pruned to 50%', '999,000', '50.0 %', '3,000', '2.50 ms', '2.40 ms', None, 0.625, 0.875)


def test_columns_that_no_network_has_are_left_out(report_with):
    bare = dataclasses.replace(report_with().full, before=None, measured_ns=None)
    assert networks_table(report_with(networks=(bare,))).headers == ['network', 'MACs', 'of full', 'parameters']


def test_what_the_report_says(written):
    text = (written / 'report.md').read_text()
    assert text.startswith(
        '# Net pruned to 50%\n\nNet: 2,000,000 MACs and 9,000 parameters. Pruned to 50%: 999,000 MACs'
    )
    assert re.findall('^## (.*)$', text, re.MULTILINE) == [
        *('Load the slim model', 'Widths', 'MACs of each layer', 'Search', 'Training', 'Settings', 'Notes')
    ]
    assert '```python\nimport torch\nmodel = 1\n```' in text
    assert 'inherited: with the weights of the supernet' in text
    assert '4 widths were scored by loss (lower is better). 2 of them are on the Pareto front' in text
    assert '1 has no score. Budget 50%: at most 1,000,000 MACs.' in text
    assert '| body.conv1 |   64 |                 17 |            17 |' in text
    assert '| (the model itself) | -          |      5 |             5 |' in text
    assert '- fc keeps its channels' in text


def test_pictures_are_told_in_words(written):
    texts = re.findall(r'!\[(.*)\]\((.*)\)', (written / 'report.md').read_text())
    assert [file for _, file in texts] == [f'report/{name}.svg' for name in ('widths', 'macs', 'scores', 'curves')]
    widths, macs, scores, curves = [alt for alt, _ in texts]
    assert widths.endswith('25 % of the channels are left in body.conv0, 28 % in body.conv2.')
    assert macs.endswith('body.conv0 changes most: from 64.0K to 16.0K.')
    assert scores.endswith('Chosen: 999K MACs with loss 0.25.')
    assert 'loss of supernet from 2.25 to 1.5' in curves
    assert 'cafenet/gap: excess loss of the other set' in (written / 'report.md').read_text()


def test_sections_without_content_are_left_out(report_with):
    report = report_with()
    networks = [dataclasses.replace(network, layers=()) for network in report.networks]
    bare = dataclasses.replace(
        report, settings={}, networks=tuple(networks), candidates=(), budgets={}, curves={}, notes=(), loading=()
    )
    assert re.findall('^## (.*)$', render_markdown(bare), re.MULTILINE) == ['Widths']
    assert '<h2>Widths</h2>' in render_html(bare)


def test_files_and_their_pictures(written):
    names = sorted(str(path.relative_to(written)) for path in written.rglob('*') if path.is_file())
    assert names == [
        *('load_slim.py', 'report.html', 'report.json', 'report.md'),
        *(f'report/{name}.svg' for name in ('curves', 'macs', 'scores', 'widths')),
    ]
    for file in re.findall(r'!\[.*\]\((.*)\)', (written / 'report.md').read_text()):
        assert ET.parse(written / file).getroot().tag.endswith('svg')


def test_the_file_alone_makes_the_same_report_again(written, tmp_path):
    write_report(tmp_path, read_report(written))
    files = [path.relative_to(written) for path in written.rglob('*') if path.is_file()]
    assert len(files) == 8
    for file in files:
        assert (written / file).read_bytes() == (tmp_path / file).read_bytes()


def test_several_pruned_networks_have_pictures_each(report_with):
    report = report_with()
    smaller = dataclasses.replace(report.pruned[0], name='pruned to 25%', finetuned=math.nan)
    text = render_markdown(dataclasses.replace(report, networks=(*report.networks, smaller)))
    assert re.findall(r'\(report/(.*)\)', text) == [
        *('widths-1.svg', 'widths-2.svg', 'macs-1.svg', 'macs-2.svg', 'scores.svg', 'curves.svg')
    ]
    assert '|                 nan |' in text


def test_very_many_groups(report_with):
    text = render_html(report_with(70))
    assert 'of 70 groups' in text
    assert 'of 72 layers' in text


@pytest.mark.parametrize(
    ('content', 'says'),
    [('{"format": 1', 'report.json is damaged'), ('[]', 'JSON object'), ({'format': 9}, 'has the format 9')],
)
def test_a_damaged_file(tmp_path, content, says):
    if isinstance(content, dict):
        write_record(tmp_path / 'report.json', content)
    else:
        (tmp_path / 'report.json').write_text(content)
    with pytest.raises(ValueError, match=says):
        read_report(tmp_path)


def test_a_folder_without_a_report(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no report.json'):
        read_report(tmp_path)
