"""Reports of a bench: tables in a terminal, a JSON file, one HTML page, and plots as PNG."""

from callsheet.scenarios.reports import terminal
from callsheet.scenarios.reports.files import read_json, write_json
from callsheet.scenarios.reports.page import write_page
from callsheet.scenarios.reports.plots import write_plots

__all__ = ["read_json", "terminal", "write_json", "write_page", "write_plots"]
