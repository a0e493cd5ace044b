"""codctl trains language models to learn on the job (Connect the Dots, arXiv 2606.20002)."""

__version__ = "0.1.0"
