"""Reports of runs and width spaces, as tables, plots and pages."""

from .inspection import Inspection
from .inspector import inspect_space
from .loader import loading_lines
from .plots import check_plot, layers_plot, sensitivity_plot, widths_svg
from .records import CandidateRecord, LayerCost, NetworkRecord, RunReport
from .write import read_report, write_report

__all__ = [
    'CandidateRecord',
    'Inspection',
    'LayerCost',
    'NetworkRecord',
    'RunReport',
    'check_plot',
    'inspect_space',
    'layers_plot',
    'loading_lines',
    'read_report',
    'sensitivity_plot',
    'widths_svg',
    'write_report',
]
