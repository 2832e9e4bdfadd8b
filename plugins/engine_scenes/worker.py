"""A process that renders its share of a store: `python -m engine_scenes.worker STORE COUNT FIRST STEP`.

It writes the number of each finished scene as a line to standard output, and ends with an error when nobody reads it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from engine_scenes.store import write


def main() -> None:
    """Render the scenes FIRST, FIRST + STEP .. below COUNT."""
    path, count, first, step = sys.argv[1:]
    for number in write(Path(path), list(range(int(first), int(count), int(step)))):
        # One write a line: print may write the number and the line's end apart, and another worker's come between.
        os.write(sys.stdout.fileno(), f"{number}\n".encode())


if __name__ == "__main__":
    main()
