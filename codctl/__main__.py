"""`python -m codctl` is the `codctl` command."""

from codctl.cli.main import main

main()
