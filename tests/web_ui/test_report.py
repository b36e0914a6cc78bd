"""The report of a run in a browser, on a desktop and on a phone, without a network."""

from __future__ import annotations

import pytest

from nni_cafenet.report.records import CandidateRecord, NetworkRecord, RunReport
from nni_cafenet.report.write import write_report

PICTURES = 'return [...document.images].map(image => [image.naturalWidth > 0, image.alt.length > 20])'
SIDEWAYS = 'return document.documentElement.scrollWidth - document.documentElement.clientWidth'
LOADED = "return performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith('data:')).length"


@pytest.fixture
def page(tmp_path):
    full = {f'backbone.layer{number}.conv': 64 for number in range(20)}
    networks = (
        NetworkRecord('full', 'full', full, 2_000_000, 9000, before=0.91, measured_ns=5e6),
        NetworkRecord('pruned', 'pruned', dict.fromkeys(full, 32), 1_000_000, 4000, finetuned=0.9, measured_ns=3e6),
    )
    report = RunReport(
        'A network',
        'a_module.with_a_long_name:and_a_long_function_' + 'x' * 60,
        {'a setting': 'a value ' * 20},
        full,
        networks,
        candidates=(CandidateRecord(1_000_000, 4000, 0.5, chosen=True),),
        curves={'supernet': {'loss': ((0, 2.0), (1, 1.0))}},
        loading=('model = ' + 'x' * 200,),
    )
    return write_report(tmp_path, report).as_uri()


@pytest.mark.parametrize('width', [1200, 390])
def test_pictures_load_and_the_page_does_not_scroll_sideways(driver, page, width):
    size = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600}
    with_size = 'Emulation.setDeviceMetricsOverride'
    driver.execute_cdp_cmd(with_size, size)
    try:
        driver.get(page)
        assert driver.execute_script(PICTURES) == [[True, True]] * 3
        assert driver.execute_script(SIDEWAYS) == 0
        assert driver.execute_script(LOADED) == 0
    finally:
        driver.execute_cdp_cmd(with_size, {**size, 'width': 1500, 'height': 1200, 'mobile': False})
