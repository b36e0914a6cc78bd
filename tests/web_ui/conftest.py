"""What NNI's web UI shows, read from the pages in a headless Chromium: ``ui(port).detail().hyper_parameters()``."""

from __future__ import annotations

import base64
import dataclasses
import functools
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import nni_node
import pytest

from nni_cafenet.nni_compat import patches

PATCH = pathlib.Path(patches.__file__).with_name('page_script.js')
PAGES = pathlib.Path(nni_node.__file__).parent / 'static'
WIDTH = 1500  # of the pages and of the pictures, in pixels
BROWSERS = 'chromium chromium-browser google-chrome google-chrome-stable'.split()
SWITCHES = (
    '--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync '
    '--disable-background-networking --disable-component-update'
).split() + ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']  # NNI's pages ask for icons from elsewhere

# The lines of the Hyper-parameter tab are on a canvas, which keeps pixels only: this keeps the paths as well.
KEEP_PATHS = """
const pen = CanvasRenderingContext2D.prototype;
const watch = (name, note) => {
    const draw = pen[name];
    pen[name] = function (...args) { note(this.canvas, args); return draw.apply(this, args); };
};
watch('clearRect', canvas => { canvas.paths = []; });
watch('beginPath', canvas => { canvas.path = []; });
watch('moveTo', (canvas, args) => { canvas.path?.push(args); });
watch('bezierCurveTo', (canvas, args) => { canvas.path?.push(args); });
watch('stroke', canvas => { (canvas.paths ??= []).push(canvas.path); });
"""

# [label, x, [[text of a tick, y], ...]] of every axis, and [[x, y], ...] of every line; a missing value is a gap.
# d3 draws a tick half a pixel lower than its value.
READ_PLOT = """
const place = node => node.transform.baseVal[0].matrix;
const axes = [...document.querySelectorAll('.parcoords .dimension')].map(axis => [
    axis.querySelector('.label').textContent, place(axis).e,
    [...axis.querySelectorAll('.tick')].map(tick => [tick.textContent, place(tick).f - 0.5])]);
const paths = document.querySelector('.parcoords canvas.foreground')?.paths ?? [];
const drawn = path => path.filter(args => args.every(Number.isFinite)).map(args => args.slice(-2));
return [axes, paths.map(drawn)];
"""

# The table under a node: the texts of its header, and of its rows.
READ_TABLE = """
const texts = (node, cells) => [...node.querySelectorAll(cells)].map(cell => cell.innerText.split('\\n')[0].trim());
const table = document.querySelector(arguments[0]);
return [texts(table, '.ms-DetailsHeader-cell'),
        [...table.querySelectorAll('.ms-DetailsRow')].map(row => texts(row, '.ms-DetailsRow-cell'))];
"""

# {trial: [values]} of the chart under a node, from the React component that drew it.
READ_CURVES = """
const chart = document.querySelector(arguments[0] + ' .echarts-for-react');
let fiber = chart[Object.keys(chart).find(key => key.startsWith('__reactFiber'))];
while (!fiber.stateNode?.getEchartsInstance) fiber = fiber.return;
const series = fiber.stateNode.getEchartsInstance().getOption().series ?? [];
return Object.fromEntries(series.map(curve => [curve.name, curve.data]));
"""

# Hides icons, replaces texts, and returns where the page ends.
PREPARE_PICTURE = """
document.head.append(Object.assign(document.createElement('style'), {textContent: 'i {visibility: hidden !important}'}));
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode())
    for (const [text, shown] of Object.entries(arguments[0]))
        texts.currentNode.data = texts.currentNode.data.replace(text, shown);
return document.querySelector('.overview, .detailTable').getBoundingClientRect().bottom;
"""


@pytest.fixture(scope='session')
def driver():
    """One headless Chromium for all tests."""
    webdriver = pytest.importorskip('selenium.webdriver', reason="selenium is missing: pip install '.[test]'")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    chromedriver = shutil.which('chromedriver')
    if browser is None or chromedriver is None:
        missing = 'Chromium' if browser is None else 'chromedriver'
        pytest.skip(f'{missing} was not found. On Debian: apt-get install chromium chromium-driver')
    home = pathlib.Path(tempfile.mkdtemp(prefix='ui-'))  # short: Chromium's sockets have paths of 107 letters at most
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for switch in [*SWITCHES, f'--user-data-dir={home / "profile"}']:
        options.add_argument(switch)
    service = webdriver.ChromeService(chromedriver, env={**os.environ, 'HOME': str(home), 'TMPDIR': str(home)})
    driver = None
    try:
        driver = webdriver.Chrome(options, service)
        driver.execute_cdp_cmd('Page.addScriptToEvaluateOnNewDocument', {'source': KEEP_PATHS})
        driver.execute_cdp_cmd(
            'Emulation.setDeviceMetricsOverride',
            {'width': WIDTH, 'height': 1200, 'deviceScaleFactor': 1, 'mobile': False},
        )
        yield driver
    finally:
        if driver is not None:
            driver.quit()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def ui(driver, tmp_path):
    """``ui(port)``: the web UI of the NNI manager at a port.

    Its pictures go into the folder that the environment variable NNI_CAFENET_SCREENSHOTS names; else they are thrown away.
    """
    pictures = pathlib.Path(os.environ.get('NNI_CAFENET_SCREENSHOTS') or tmp_path)
    return lambda port: WebUI(driver, f'http://127.0.0.1:{port}', pictures)


@dataclasses.dataclass
class Plot:
    """The Hyper-parameter tab: labels of the axes from left to right, and ``{label: value}`` of every line."""

    axes: list[str]
    lines: list[dict[str, float | str]]


class WebUI:
    """NNI's pages, as a reader sees them."""

    def __init__(self, driver, url: str, pictures: pathlib.Path) -> None:
        self.driver, self.url, self.pictures = driver, url, pictures

    # --- pages ------------------------------------------------------------------------------------

    def overview(self) -> WebUI:
        self.driver.get(f'{self.url}/oview')
        self.wait_for('#succTable .ms-DetailsHeader')
        return self

    def detail(self) -> WebUI:
        self.driver.get(f'{self.url}/detail')
        self.wait_for('#tableList .ms-DetailsRow')
        return self

    def refresh(self) -> None:
        """Have the page ask the manager for news, as it does every ten seconds by itself."""
        self._click('//button[.="Refresh"]')

    # --- what they show ---------------------------------------------------------------------------

    def status(self) -> str:
        """The status of the experiment, on the overview page."""
        return self.wait_for('.overviewBasicInfo .status-text').text

    def top_trials(self) -> list[dict[str, str]]:
        """The rows of the overview's table, ``{title: text}``."""
        return self._table('#succTable')

    def trials(self) -> list[dict[str, str]]:
        """The rows of the detail page's table, ``{title: text}``."""
        return self._table('#tableList')

    def add_columns(self, *titles: str) -> None:
        """Add columns to the detail page's table, by their titles."""
        self._click('//button[.="Add/Remove columns"]')
        for title in titles:
            self._click(f'//div[contains(@class, "ms-Dialog-main")]//label[contains(., "{title}")]')
        self._click('//div[contains(@class, "ms-Dialog-main")]//button[.="Save"]')

    def open_trial(self, number: int) -> str:
        """Open a row of the detail page's table and return the parameters in it."""
        self._click(f'(//*[@id="tableList"]//*[contains(@class, "ms-DetailsRow-cell")]/i)[{number + 1}]')
        return self.wait_for('#tableList .openRow .bgHyper').text

    def hyper_parameters(self) -> Plot:
        """The axes and lines of the Hyper-parameter tab."""
        self._tab('Hyper-parameter')
        self.wait_for('.parcoords .dimension, .parameter .nodata')
        axes, paths = self.driver.execute_script(READ_PLOT)
        lines = [
            {label: value_at(ticks, y) for label, at, ticks in axes for x, y in path if abs(x - at) < 0.5}
            for path in paths
        ]
        return Plot([label for label, *_ in axes], [line for line in lines if len(line) > 1])

    def intermediate_results(self) -> dict[str, list[float]]:
        """The curves of the Intermediate result tab, by the IDs of the trials."""
        self._tab('Intermediate result')
        self.wait_for('.intermediate-graph canvas')
        return self.driver.execute_script(READ_CURVES, '.intermediate-graph')

    def picture(self, name: str, shown: dict[str, str] | None = None) -> pathlib.Path:
        """Save the whole page, without the icons that could not be loaded, and return the path.

        Texts that ``shown`` has are replaced: paths of this machine by some that say more to a reader.
        """
        height = self.driver.execute_script(PREPARE_PICTURE, shown or {})
        time.sleep(1.2)  # charts appear slowly, icons leave slowly
        clip = {'x': 0, 'y': 0, 'width': WIDTH, 'height': height + 16, 'scale': 1}
        png = self.driver.execute_cdp_cmd('Page.captureScreenshot', {'clip': clip, 'captureBeyondViewport': True})
        path = self.pictures / f'{name}.png'
        path.write_bytes(base64.b64decode(png['data']))
        return path

    # --- how it is read ---------------------------------------------------------------------------

    def wait_for(self, selector: str, seconds: float = 20):
        """The first node of a CSS selector, as soon as it is there."""
        from selenium.webdriver.support.ui import WebDriverWait

        find = lambda driver: driver.find_elements('css selector', selector)  # noqa: E731
        return WebDriverWait(self.driver, seconds, 0.05).until(find, f'{self.driver.current_url} has no {selector}')[0]

    def _click(self, path: str) -> None:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        def clicked(driver) -> bool:
            found = driver.find_elements('xpath', path)
            if found:
                found[0].click()
            return bool(found)

        drawn_anew = [StaleElementReferenceException]  # between finding and clicking
        wait = WebDriverWait(self.driver, 40, 0.05, ignored_exceptions=drawn_anew)
        wait.until(clicked, f'{self.driver.current_url} has no {path}')

    def _tab(self, name: str) -> None:
        self._click(f'//button[@name="{name}"]')

    def _table(self, selector: str) -> list[dict[str, str]]:
        titles, rows = self.driver.execute_script(READ_TABLE, selector)
        return [{title: text for title, text in zip(titles, row) if title} for row in rows]


def value_at(ticks: list[tuple[str, float]], y: float) -> float | str:
    """The value at a height of an axis: the text of a tick, or a number between two ticks."""
    for text, at in ticks:
        if abs(at - y) < 0.1:
            return number(text)
    (low, bottom), *_, (high, top) = ticks
    return number(low) + (number(high) - number(low)) * (y - bottom) / (top - bottom)


def number(text: str) -> float | str:
    try:
        return float(text.replace(',', '').replace('\N{MINUS SIGN}', '-'))
    except ValueError:
        return text


# --- NNI's pages without its manager --------------------------------------------------------------


@pytest.fixture
def portal(ui):
    """``portal(trials, space)``: NNI's pages in the browser, with trials that have run.

    A trial is (mutation summary, intermediate results, final metrics or default one or None, status); one whose summary
    is None has results, but is not listed. space: what is published.
    """
    servers = []

    def start(trials, space=None):
        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler(answers(trials, space or {})))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return ui(server.server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def handler(answers):
    class Manager(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=PAGES)

        def do_GET(self):
            name = self.path.rpartition('/')[2]
            if name.startswith('main.') and name.endswith('.js'):
                self.reply('text/javascript', page_script(self.translate_path(self.path)))
                return
            if not self.path.startswith('/api/'):
                self.path = '/index.html' if name in ('oview', 'detail') else self.path
                super().do_GET()
                return
            self.reply('application/json', json.dumps(answers.get(name, [])).encode())

        def reply(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header('Content-Type', kind)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    return Manager


@functools.cache
def page_script(path: str) -> bytes:
    """The script of NNI's pages, as our managers serve it."""
    node = pathlib.Path(nni_node.__file__).parent / 'node'
    program = (
        f'process.stdout.write(require({json.dumps(str(PATCH))}).corrected(require("fs").readFileSync(0, "utf8")))'
    )
    with open(path) as script:
        return subprocess.run([node, '-e', program], stdin=script, stdout=subprocess.PIPE, check=True).stdout


def answers(trials, space):
    """What NNI's manager answers, by the last word of the address."""

    def metric(trial, kind, sequence, value):
        data = json.dumps(json.dumps(value))
        return {
            'trialJobId': trial,
            'parameterId': '0',
            'type': kind,
            'sequence': sequence,
            'data': data,
            'timestamp': 0,
        }

    jobs, metrics = [], []
    for number, (summary, intermediates, final, status) in enumerate(trials):
        trial = f'trial{number}'
        metrics += [metric(trial, 'PERIODICAL', *pair) for pair in enumerate(intermediates)]
        if summary is None:
            continue
        parameter = {'parameter_id': number, 'parameters': {'mutation_summary': summary, 'other': [1]}}
        job = {'trialJobId': trial, 'sequenceId': number, 'status': status, 'startTime': 1000, 'endTime': 9000}
        job['hyperParameters'] = [json.dumps(parameter)]
        if final is not None:
            metrics.append(
                metric(
                    trial, 'FINAL', 0, final if isinstance(final, dict) else {'default': final, 'macs': summary['macs']}
                )
            )
            job['finalMetricData'] = metrics[-1:]
        jobs.append(job)
    config = {
        'searchSpace': space,
        'trialConcurrency': 2,
        'trainingService': {'platform': 'local'},
        'trialCommand': 'x',
    }
    return {
        'experiment': {
            'id': 'abc',
            'params': config,
            'startTime': 1000,
            'endTime': 9000,
            'execDuration': 8,
            'logDir': '/',
        },
        'experiment-metadata': {'id': 'abc', 'tag': ['retiarii']},
        'check-status': {'status': 'DONE', 'errors': []},
        'trial-jobs': jobs,
        'metric-data': metrics,
    }
