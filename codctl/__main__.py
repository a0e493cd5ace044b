"""`python -m codctl` is the `codctl` command."""

from codctl.cli.main import main

if __name__ == "__main__":
    main()
