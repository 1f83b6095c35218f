#!/usr/bin/env bash
# A Python program with callbacks and a log sink, through ctypes, ends with its
# own status: while it ends, CPython before 3.14 ends the threads that come back
# to it.
set -euo pipefail
source tests/scripts/helpers.bash

if ! python3 -c 'import ctypes' 2>/dev/null; then
    echo "not run: interpreter_exit: there is no python3 with ctypes"
    exit 0
fi

cat >"$WORK/program.py" <<'PYTHON'
import ctypes, sys, threading, time

library, url, delay = ctypes.CDLL(sys.argv[1]), sys.argv[2], float(sys.argv[3])
pointer, text = ctypes.c_void_p, ctypes.c_char_p
calls, enough = [0], threading.Event()

@ctypes.CFUNCTYPE(None, pointer, pointer)
def on_event(user, event):
    calls[0] += 1
    if calls[0] == 20:
        enough.set()

@ctypes.CFUNCTYPE(None, pointer, ctypes.c_int32, text, text)
def on_line(user, level, target, line):
    sum(range(50))

# While the library may call them, they stay: CPython frees what its modules hold
# when it ends, which the library cannot know.
for function in on_event, on_line:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(function))

def check(status):
    assert status == 0, status

check(library.cometd_log_set(5, on_line, None, None))
channels = (text * 1)(b"/demo/**")
for n in range(6):
    builder, client = pointer(), pointer()
    check(library.cometd_client_builder_new(url.encode(), ctypes.byref(builder), None))
    check(library.cometd_client_builder_build(builder, ctypes.byref(client), None))
    library.cometd_client_builder_free(builder)
    check(library.cometd_client_set_callback(client, on_event, None, None))
    check(library.cometd_client_subscribe(client, channels, ctypes.c_size_t(1), None, None))
    check(library.cometd_client_connect(client, None))
assert enough.wait(60)
time.sleep(delay)
sys.exit(7)
PYTHON

start_server --tick-ms 1
for round in {1..30}; do
    expect 7 python3 "$WORK/program.py" "$BUILD/lib/libcometd.so.0" "$URL" "0.00$((round % 7))"
done
