"""One self-contained HTML page about a run, and its charts as files."""

from codctl.report.figures import write_figures
from codctl.report.run_page import write_report

__all__ = ["write_figures", "write_report"]
