"""The documentation as a site: `make docs`. Every Markdown file of the project is a page; a broken link is an error."""

project = "codctl"
copyright = "The codctl developers, Apache-2.0"  # noqa: A001 - Sphinx gives the name
html_title = "codctl"
html_theme = "furo"
root_doc = "docs/index"
extensions = ["myst_parser"]
myst_heading_anchors = 3
highlight_language = "none"
include_patterns = ["*.md", "docs/**", "experiments/**/README.md", "recipes/*.yaml"]
exclude_patterns = ["docs/conf.py", "CLAUDE.md"]
nitpicky = True
