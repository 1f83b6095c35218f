"""The extension module cometd._cometd: all of cometd.h, by cffi."""

import os
import re
import shlex
import subprocess
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
PKG_CONFIG = "pkg-config"
# See setup.py.
LIBRARY = os.environ.get("COMETD_LIBRARY", "")

# What is read of many events is read in one call, without the interpreter's lock.
HELPERS = """
static void cometd_python_look(const cometd_event *const *events, cometd_event_view *views, size_t count)
{
    cometd_events_look(events, views, count, sizeof *views);
}

static size_t cometd_python_poll(cometd_client *client, int32_t timeout_ms, cometd_event **events,
                                 cometd_event_view *views, size_t cap)
{
    size_t count = cometd_client_poll_many(client, timeout_ms, events, cap);
    cometd_python_look((const cometd_event *const *)events, views, count);
    return count;
}
"""

CALLBACKS = """
void cometd_python_look(const cometd_event *const *events, cometd_event_view *views, size_t count);
size_t cometd_python_poll(cometd_client *client, int32_t timeout_ms, cometd_event **events,
                          cometd_event_view *views, size_t cap);
extern "Python" {
    void cometd_python_events(void *user, const cometd_event *const *events, size_t count);
    cometd_status cometd_python_token(void *user, int32_t reason, cometd_token *token);
    cometd_status cometd_python_handshake(void *user, cometd_handshake *handshake);
    cometd_status cometd_python_request(void *user, cometd_request *request);
    cometd_status cometd_python_outgoing(void *user, cometd_extension_message *message);
    cometd_status cometd_python_incoming(void *user, cometd_extension_message *message);
    cometd_status cometd_python_load(void *user, const char *channel, int64_t *position);
    void cometd_python_log(void *user, int32_t level, const char *target, const char *text);
    void cometd_python_free(void *user);
}
"""


def declarations(header: str) -> str:
    """The header in the C that cffi reads: no includes, no attributes, constants by name."""
    constants = re.findall(r"^#define (COMETD_\w+) ", header, re.MULTILINE)
    without_includes = re.sub(r"^#include.*", "", header, flags=re.MULTILINE)
    command = [*shlex.split(os.environ.get("CC", "cc")), "-E", "-P", "-x", "c", "-"]
    text = subprocess.run(command, input=without_includes, stdout=subprocess.PIPE, check=True, text=True).stdout
    text = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", text)
    return "\n".join(f"#define {name} ..." for name in constants) + "\n" + text


def library() -> Path:
    """The library that the wheel holds."""
    if LIBRARY:
        return Path(LIBRARY).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", TREE / "target"))
    return target / os.environ.get("CARGO_BUILD_TARGET", "") / "release" / "libcometd.so"


def linking() -> "dict[str, list[str]]":
    if LIBRARY != PKG_CONFIG:
        return {
            "include_dirs": [str(TREE / "include")],
            "extra_link_args": [str(library()), "-Wl,-rpath,$ORIGIN"],
        }
    command = ["pkg-config", "--cflags", "--libs", "cometd"]
    flags = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    folders = [flag[2:] for flag in flags if flag.startswith("-L")]
    return {
        "include_dirs": [flag[2:] for flag in flags if flag.startswith("-I")],
        "library_dirs": folders,
        "runtime_library_dirs": folders,
        "libraries": ["cometd"],
    }


def header() -> str:
    folders = [*linking()["include_dirs"], "/usr/include", "/usr/local/include"]
    for folder in folders:
        path = Path(folder) / "cometd" / "cometd.h"
        if path.exists():
            return path.read_text()
    raise FileNotFoundError("cometd/cometd.h, in " + ", ".join(folders))


ffi = FFI()
ffi.cdef(declarations(header()) + CALLBACKS)
ffi.set_source("cometd._cometd", "#include <cometd/cometd.h>\n" + HELPERS, **linking())
