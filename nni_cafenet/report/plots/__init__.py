"""Figures of reports."""

from .layers import check_plot, layers_plot
from .pictures import costs_picture, curves_picture, scores_picture, widths_picture
from .scores import on_front
from .sensitivity import sensitivity_plot
from .widths import widths_svg

__all__ = [
    'check_plot',
    'costs_picture',
    'curves_picture',
    'layers_plot',
    'on_front',
    'scores_picture',
    'sensitivity_plot',
    'widths_picture',
    'widths_svg',
]
