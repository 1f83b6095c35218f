"""Puts the library into the package; pyproject.toml has the rest.

COMETD_LIBRARY names a libcometd.so that is built already, or is "pkg-config" for the one of the
system, which is then not in the wheel. Without it cargo builds the library from the tree.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))
from extension import LIBRARY, PKG_CONFIG, TREE, library  # noqa: E402


class BuildWithLibrary(build_py):
    def run(self) -> None:
        super().run()
        if LIBRARY == PKG_CONFIG:
            return
        if not LIBRARY:
            subprocess.run(["sh", str(TREE / "packaging" / "build.sh"), "-p", "cometd"], check=True)
        copy = Path(self.build_lib) / "cometd" / "libcometd.so.0"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library(), copy)
        copy.chmod(0o755)
        if shutil.which("strip"):
            subprocess.run(["strip", "--strip-unneeded", str(copy)], check=True)


def version() -> str:
    match = re.search(r'^version = "(.*)"', (TREE / "Cargo.toml").read_text(), re.MULTILINE)
    assert match, "Cargo.toml has a version"
    return match.group(1)


setup(
    version=version(),
    cffi_modules=["extension.py:ffi"],
    cmdclass={"build_py": BuildWithLibrary},
)
