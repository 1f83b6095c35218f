#!/usr/bin/env bash
# The headers compile alone, in each language and twice; and the library exports
# the functions of cometd.h, all of them and nothing else.
set -euo pipefail
source tests/scripts/helpers.bash
LIBRARY=$BUILD/lib/libcometd.so.0

printf '#include <cometd/cometd.h>\n#include <cometd/cometd.h>\nint main(void) { return COMETD_VERSION == 0u; }\n' >"$WORK/c.c"
cp "$WORK/c.c" "$WORK/c.cpp"
printf '#include <cometd/cometd.hpp>\n#include <cometd/cometd.hpp>\nint main() {}\n' >"$WORK/cpp.cpp"
# Programs compile with more warnings than this library.
STRICT=("${WARNINGS[@]}" -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes)
# Two units of one program: nothing in it may be defined twice.
printf '#include <cometd/cometd.hpp>\nint other() { return 0; }\n' >"$WORK/other.cpp"

compilers=("$CC:$CXX")
if command -v clang >/dev/null && command -v clang++ >/dev/null; then
    compilers+=("clang:clang++")
else
    echo "not run: the headers with clang, which is not installed"
fi
for pair in "${compilers[@]}"; do
    c=${pair%:*} cxx=${pair#*:}
    for standard in c99 c11; do
        "$c" -std=$standard "${STRICT[@]}" -Iinclude -c "$WORK/c.c" -o "$WORK/c.o"
    done
    "$cxx" -std=c++17 "${WARNINGS[@]}" -Iinclude -c "$WORK/c.cpp" -o "$WORK/c.o"
    "$cxx" -std=c++17 "${WARNINGS[@]}" -Iinclude "$WORK/cpp.cpp" "$WORK/other.cpp" -o "$WORK/cpp" -L"$BUILD/lib" -lcometd
    for source in examples-c/*.c; do
        "$c" "${C99[@]}" "${WARNINGS[@]}" -Iinclude -c "$source" -o "$WORK/c.o"
    done
    for source in examples-c/*.cpp; do
        "$cxx" -std=c++17 "${WARNINGS[@]}" -Iinclude -c "$source" -o "$WORK/c.o"
    done
done

if command -v clang-tidy >/dev/null; then
    # Once: twice is what it finds fault with. What is left out wants other names, or C++.
    sed 2d "$WORK/c.c" >"$WORK/once.c"
    clang-tidy --quiet --warnings-as-errors='*' --header-filter='.*' \
        --checks='*,-llvm*-header-guard,-altera-struct-pack-align,-readability-identifier-length,-*-uppercase-literal-suffix' \
        "$WORK/once.c" -- -std=c99 -Iinclude >"$WORK/tidy.out" 2>&1 || fail "clang-tidy: $(cat "$WORK/tidy.out")"
else
    echo "not run: the header with clang-tidy, which is not installed"
fi

# What is promised of versions stands in both places in the same words.
words() { tr -s ' \n*' ' ' <"$1"; }
promise=$(words CHANGELOG.md | grep -oE 'A program works with every library .* only a major version may\.')
[[ -n $promise ]] || fail "CHANGELOG.md promises nothing of versions"
contains "$(words include/cometd/cometd.h)" "${promise#A }"

# The functions, without comments and without the types of functions.
sed 's|//.*||' include/cometd/cometd.h | grep -oE '(^|[ *])cometd_[a-z0-9_]+\(' |
    tr -d ' *(' | sort -u >"$WORK/declared.out"
nm -D --defined-only "$LIBRARY" | awk '{ print $3 }' | sed 's/@.*//' | sort -u >"$WORK/exported.out"
[[ -s $WORK/declared.out ]] || fail "no function was found in the header"
diff "$WORK/declared.out" "$WORK/exported.out" >"$WORK/diff.out" ||
    fail "the header (<) and the library (>) differ: $(grep '^[<>]' "$WORK/diff.out")"

# C++ reaches each of them, or the one that does the same with a value of the program's; and it has each constant.
# What cometd_event_look gives as well, it has of that.
sed -n '/^typedef struct cometd_event_view {/,/^}/s/.*[Aa]s \(cometd_event_[a-z_]*\)\.$/\1/p' include/cometd/cometd.h >"$WORK/seen.out"
[[ -s $WORK/seen.out ]] || fail "cometd_event_view tells of no function"
while read -r name; do
    grep -qx "$name" "$WORK/seen.out" && continue
    grep -qE "\b$name(_opaque)?\b" include/cometd/cometd.hpp || fail "$name is not in cometd.hpp"
done < <(cat "$WORK/declared.out" && sed -n 's/^#define \(COMETD_[A-Z0-9_]*\) .*/\1/p' include/cometd/cometd.h)

# Types of functions and structs are blittable: what P/Invoke and others would marshal is not in them.
sed 's|//.*||' include/cometd/cometd.h | tr '\n' ' ' |
    grep -oE 'typedef [^;{}]*\(\*cometd_[a-z_]+_fn\)[^;]*;|typedef (struct|union) [a-z_]+ \{[^}]*\}' >"$WORK/types.out"
grep -q _fn "$WORK/types.out" && grep -q '{' "$WORK/types.out" || fail "no type of a function or no struct was found in the header"
! grep -E '\b(bool|_Bool|enum|char [a-z_]*\[|wchar_t|long|float|double)\b|: *[0-9]' "$WORK/types.out" >"$WORK/marshalled.out" ||
    fail "not blittable: $(cat "$WORK/marshalled.out")"

dynamic=$(readelf -dW "$LIBRARY")
contains "$dynamic" "soname: [libcometd.so.0]"
contains "$dynamic" "NODELETE"
[[ $(readlink "$BUILD/lib/libcometd.so") == libcometd.so.0 ]] || fail "libcometd.so leads elsewhere"
