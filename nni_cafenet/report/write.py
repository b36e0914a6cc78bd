"""The report of a run in its folder: ``report.md``, ``report.html``, ``report.json``."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DamagedFileError
from ..utils import child_path, read_record, write_record, write_text
from .document import Picture
from .html_page import html_page
from .loader import write_loader
from .markdown_page import markdown_page
from .records import RunReport
from .run_page import run_page

__all__ = ['read_report', 'render_html', 'render_markdown', 'write_report']

_PathLike = str | os.PathLike[str]
_PICTURES = 'report'


def render_markdown(report: RunReport) -> str:
    """Return the report as Markdown; it names its pictures by the files that `write_report` writes."""
    return markdown_page(report.title, run_page(report), _PICTURES)


def render_html(report: RunReport) -> str:
    """Return the report as one HTML file with its pictures inside."""
    return html_page(report.title, run_page(report))


def write_report(folder: _PathLike, report: RunReport) -> Path:
    """
    Write the report of a run into its folder.

    Parameters
    ----------
    folder
        The folder; it is made if need be. ``report.json`` (what `read_report` reads) is written first, then ``report.md``
        with its pictures in ``report/``, ``report.html``, and ``load_slim.py`` if the report has lines that load the
        model. Each file is replaced whole.
    report
        What it shows.

    Returns
    -------
    The path of ``report.html``.
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


def read_report(folder: _PathLike) -> RunReport:
    """
    Read the report of a run, such as to write it again.

    Parameters
    ----------
    folder
        The folder that `write_report` wrote into.

    Raises
    ------
    FileNotFoundError
        If it holds no report.
    ValueError
        If its report is damaged, or of another version.
    """
    path = Path(folder) / 'report.json'
    if not path.is_file():
        raise FileNotFoundError(f'{folder} holds no report.json: give the folder of a run that has ended')
    try:
        record = read_record(path, remedy='run the command of the run again')
        return RunReport.from_json(record)
    except DamagedFileError:
        raise
    except ValueError as error:
        raise ValueError(f'{path} cannot be read: {error}. Run again, or take the file from a copy.') from error
