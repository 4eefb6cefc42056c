"""The command `composer`, also as `python -m composer COMMAND ...`."""

from lstm_composer import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
