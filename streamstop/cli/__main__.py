"""`python -m streamstop.cli` is `streamstop`."""

from streamstop.cli import main

if __name__ == "__main__":
    main()
