#!/usr/bin/env bash
# The man pages are without a mistake and found under each function's name; the
# HTML is made without a warning.
set -euo pipefail
source tests/scripts/helpers.bash

make -s man BUILD="$WORK" >"$WORK/make.out" 2>&1 || fail "make man: $(cat "$WORK/make.out")"
shopt -s nullglob
whole=()
for page in "$WORK"/man/man[1-8]/*; do
    [[ $(head -c 4 "$page") == .so\  ]] || whole+=("$page")
done
((${#whole[@]} > 10)) || fail "there are only ${#whole[@]} pages"
if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning "${whole[@]}" >"$WORK/lint.out" 2>&1 || fail "$(cat "$WORK/lint.out")"
else
    echo "not run: man pages with mandoc, which is not installed"
fi
if command -v man >/dev/null && command -v groff >/dev/null; then
    for name in cometd cometd_client cometd_client_publish cometd_event_fn cometd-options cometd-threads; do
        MANPATH=$WORK/man MANWIDTH=100 man --warnings=w -P cat "$name" >"$WORK/page.out" 2>"$WORK/page.err" ||
            fail "man $name: $(cat "$WORK/page.err")"
        [[ ! -s $WORK/page.err ]] || fail "man $name: $(cat "$WORK/page.err")"
    done
    MANPATH=$WORK/man MANWIDTH=100 man -P cat cometd_client_publish 2>&1 | col -b >"$WORK/page.out"
    contains "$(cat "$WORK/page.out")" "cometd_client_publish(cometd_client *client"
else
    echo "not run: man pages with man, which is not installed"
fi

if command -v doxygen >/dev/null; then
    make -s html BUILD="$WORK" >"$WORK/html.out" 2>&1 || fail "make html: $(cat "$WORK/html.out")"
    [[ -s $WORK/html/index.html ]] || fail "make html made no index.html"
else
    echo "not run: the manual as HTML with doxygen, which is not installed"
fi
