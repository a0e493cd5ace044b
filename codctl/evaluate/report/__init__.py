"""One self-contained HTML page about a run, and its charts as files."""

from codctl.evaluate.report.figures import write_figures
from codctl.evaluate.report.page import write_report

__all__ = ["write_figures", "write_report"]
