"""Reading and writing of reports: ``report.md``, ``report.html``, ``report.json``."""

from __future__ import annotations

from pathlib import Path

from ..errors import DamagedFileError
from ..utils import FilePath, child_path, read_record, write_record, write_text
from .document import Picture
from .html_page import html_page
from .loader import write_loader
from .markdown_page import markdown_page
from .records import RunReport
from .run_page import run_page

__all__ = ['read_report', 'render_html', 'render_markdown', 'write_report']

_PICTURES = 'report'


def render_markdown(report: RunReport) -> str:
    """Return the report as Markdown, which links the figures written by `write_report`."""
    return markdown_page(report.title, run_page(report), _PICTURES)


def render_html(report: RunReport) -> str:
    """Return the report as one HTML file with embedded figures."""
    return html_page(report.title, run_page(report))


def write_report(folder: FilePath, report: RunReport) -> Path:
    """Write a report, and return the path of ``report.html``. Each file is replaced atomically.

    The others are ``report.json``, ``report.md`` with figures in ``report/`` and, for a report with loading lines,
    ``load_slim.py``.
    """
    folder = Path(folder)
    write_record(folder / 'report.json', report.to_json())
    blocks = run_page(report)
    for block in blocks:
        if isinstance(block, Picture):
            write_text(child_path(folder, _PICTURES, block.name), block.svg)
    write_text(folder / 'report.md', markdown_page(report.title, blocks, _PICTURES))
    write_text(folder / 'report.html', html_page(report.title, blocks))
    if report.loading:
        write_loader(folder)
    return folder / 'report.html'


def read_report(folder: FilePath) -> RunReport:
    """Read a report of `write_report`.

    Raises FileNotFoundError, or ValueError if it is damaged or has another format.
    """
    path = Path(folder) / 'report.json'
    if not path.is_file():
        raise FileNotFoundError(f'{folder} contains no report.json: give the folder of a finished run')
    try:
        record = read_record(path, remedy='repeat the command of the run')
        return RunReport.from_json(record)
    except DamagedFileError:
        raise
    except ValueError as error:
        raise ValueError(f'{path} cannot be read: {error}. Repeat the run, or restore the file from a copy.') from error
