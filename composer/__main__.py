"""`python -m composer COMMAND ...`: the same as `composer COMMAND ...`."""

from composer.cli import main

if __name__ == "__main__":
    main()
