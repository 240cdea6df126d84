"""Makes the bundled recordings: `python -m streamstop.simulation OUT --seed 0`."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamstop.simulation.bundled import write_bundle


def main() -> None:
    """Read the command line and write the bundle, with a line of output for each part."""
    parser = argparse.ArgumentParser(prog="python -m streamstop.simulation", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write to, e.g. recordings")
    parser.add_argument("--seed", type=int, default=0, help="0 makes the bundled recordings")
    options = parser.parse_args()
    for line in write_bundle(options.out, options.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
