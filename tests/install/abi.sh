#!/usr/bin/env bash
# Programs that were built with the last release's header run with this library:
# abidiff compares what the two headers declare, and each constant has its value.
# The library itself cannot be compared: its debug information is of Rust's types.
# COMETD_ABI_SINCE=COMMIT compares with that one.
set -euo pipefail
source tests/scripts/helpers.bash
command -v abidiff >/dev/null || fail "missing: abidiff; Debian and Ubuntu: apt install abigail-tools"

# A view's size is given with it, so it may grow at its end.
cat >"$WORK/suppressions" <<'END'
[suppress_type]
  name = cometd_event_view
  type_kind = struct
  has_data_member_inserted_at = end
END

# library HEADER FILE: a library with the functions of the header, which do
# nothing, and all that C knows of their types.
library() {
    mkdir -p "$2.include/cometd"
    cp "$1" "$2.include/cometd/cometd.h"
    {
        echo '#include <cometd/cometd.h>'
        "$CC" -E -P "$1" | tr '\n' ' ' | awk 'BEGIN { RS = ";" }
            /[{}]/ || /^ *typedef/ { next }
            /cometd_[a-z0-9_]+ *\(/ { print $0 " { __builtin_unreachable(); }" }'
    } >"$2.c"
    "$CC" -g -shared -fPIC -Wl,-soname,libcometd.so.0 -I"$2.include" "$2.c" -o "$2"
    "$CC" -E -dM "$1" | awk '$2 ~ /^COMETD_/ && $2 != "COMETD_VERSION" && NF > 2' | LC_ALL=C sort >"$2.constants"
}

# breaks OLD NEW: whether a program of the old header would not run any more; what
# is amiss is in breaks.out.
breaks() {
    local status=0 changed
    library "$1" "$WORK/old.so"
    library "$2" "$WORK/new.so"
    abidiff --no-added-syms --suppressions "$WORK/suppressions" "$WORK/old.so" "$WORK/new.so" >"$WORK/breaks.out" 2>&1 || status=$?
    changed=$(comm -23 "$WORK/old.so.constants" "$WORK/new.so.constants")
    [[ -z $changed ]] || echo "constants that are gone or have another value: $changed" >>"$WORK/breaks.out"
    ((status & 3)) && fail "abidiff failed: $(cat "$WORK/breaks.out")"
    ((status != 0)) || [[ -n $changed ]]
}

header=include/cometd/cometd.h
(($(nm -D --defined-only "$BUILD/lib/libcometd.so.0" | wc -l) > 100)) || fail "the library exports next to nothing"
library "$header" "$WORK/this.so"
diff <(nm -D --defined-only "$WORK/this.so" | grep -o 'cometd_.*') <(cut -d ' ' -f 1 symbols.txt) >/dev/null ||
    fail "not every function of the header was found"

# change NAME SED: a copy of the header in which something is different.
change() {
    sed -E "$2" "$header" >"$WORK/$1.h"
    ! cmp -s "$header" "$WORK/$1.h" || fail "the copy '$1' is not different"
}
caught() {
    change "$@"
    breaks "$header" "$WORK/$1.h" || fail "the break '$1' was not caught"
}
caught function_gone '/^cometd_state cometd_client_state\(/d'
caught other_parameter 's/^(bool cometd_channel_matches\(const char \*pattern), /\1, int32_t more, /'
caught other_result 's/^uint32_t cometd_version\(void\)/uint64_t cometd_version(void)/'
caught other_callback 's/^typedef void \(\*cometd_free_fn\)\(void \*user\)/typedef void (*cometd_free_fn)(void *user, int32_t why)/'
caught other_constant 's/^(#define COMETD_E_TLS) .*/\1 -99/'
if grep -q '^typedef struct cometd_event_view {' "$header"; then
    caught member_between 's/^(typedef struct cometd_event_view \{)/\1 int64_t more;/'
    change member_behind 's/^(\} cometd_event_view;)/int64_t more; \1/'
    ! breaks "$header" "$WORK/member_behind.h" || fail "a view may not grow: $(cat "$WORK/breaks.out")"
fi
change function_more 's/^uint32_t cometd_version\(void\);/& uint32_t cometd_version_more(void);/'
! breaks "$header" "$WORK/function_more.h" || fail "a new function is taken for a break: $(cat "$WORK/breaks.out")"

release=${COMETD_ABI_SINCE:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
if [[ -z $release ]]; then
    echo "not run: the comparison with the last release, because there is none"
else
    git show "$release:$header" >"$WORK/release.h"
    ! breaks "$WORK/release.h" "$header" || fail "programs of $release would not run: $(cat "$WORK/breaks.out")"
fi
