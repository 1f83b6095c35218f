"""Runs the example, and the program of README, against a server."""

import re
import subprocess
import sys
from pathlib import Path

from server import LIMIT, Server

PACKAGE = Path(__file__).resolve().parents[1]


def main() -> None:
    server = Server("--tick-ms", "10")
    example = str(PACKAGE / "examples" / "ticks.py")
    done = subprocess.run([sys.executable, example, server.url], stdout=subprocess.PIPE, text=True, timeout=LIMIT)
    assert done.returncode == 0 and done.stdout.count("/ticks {'tick': ") == 3, done

    blocks = re.findall(r"```python\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    program = blocks[0].replace("http://127.0.0.1:8080/cometd", server.url)
    # Not where the sources are, which have no extension module.
    running = subprocess.Popen([sys.executable, "-u", "-c", program], stdout=subprocess.PIPE, text=True, cwd="/")
    assert running.stdout
    line = running.stdout.readline()
    running.kill()
    running.communicate(timeout=LIMIT)
    assert line.startswith("/ticks {'tick': "), line
    server.stop()


if __name__ == "__main__":
    main()
