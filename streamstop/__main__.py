"""`python -m streamstop`: the command line as torchrun starts it, and nothing of its own."""

from streamstop.cli import main

if __name__ == "__main__":
    main()
