"""Reads a source to its end with little memory, and prints what came of it as JSON.

A process of its own, so that a reader that takes too much memory or time takes only itself down.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

MEMORY_BYTES = 1 << 30
TIMEOUT_S = 20


def read_capped(path: Path, **options: Any) -> dict[str, Any]:
    """What `main` prints of the source at `path`; fails where it hangs, crashes or grows."""
    command = [sys.executable, __file__, str(path), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    from streamstop.errors import StreamstopError
    from streamstop.sources.open import open_source

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    answer: dict[str, Any] = {"events": 0, "x": [], "damage": [], "error": "", "message": ""}
    try:
        for packet in open_source(sys.argv[1], **json.loads(sys.argv[2])):
            answer["events"] += len(packet.events)
            answer["x"] += packet.events["x"][:10].tolist()
            for one in packet.damage:
                answer["damage"].append([one.offset, one.lost_bytes, one.reason])
    except StreamstopError as error:
        answer["error"], answer["message"] = type(error).__name__, str(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
