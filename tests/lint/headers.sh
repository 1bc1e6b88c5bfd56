#!/bin/bash
# Each public header compiles alone, first and twice, as C99 and C11 and as C++, without a warning.
set -u -o pipefail
source_dir=${srcdir:-.}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0 seen=0
warnings='-Wall -Wextra -Wpedantic -Werror'
cxx=${CXX:-c++}
command -v "$cxx" >/dev/null || cxx=

try() {
    # shellcheck disable=SC2086  # lists of words
    "$@" -fsyntax-only -I"$source_dir/include" $warnings $extra >"$work/out" 2>&1 || {
        echo "$header does not compile with $*:"
        cat "$work/out"
        bad=1
    }
}

while read -r header; do
    seen=$((seen + 1)) extra=
    case $header in # an adapter needs the library that it adapts; one that is not there is left out
    *adapters/*)
        module=$(basename "$header" .h)
        case $module in
        libuv | libevent) extra=$(pkg-config --cflags "$module" 2>/dev/null) || continue ;;
        libev) echo '#include <ev.h>' | ${CC:-cc} -E -x c - >/dev/null 2>&1 || continue ;;
        esac
        # Headers of others are not held to our warnings.
        extra="${extra//-I/-isystem } -Wno-long-long -D_GNU_SOURCE"
        ;;
    esac
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$header" "$header" \
        >"$work/one.c"
    cp "$work/one.c" "$work/one.cc"
    # shellcheck disable=SC2086  # CC may hold options
    for standard in c99 c11; do
        try ${CC:-cc} -std=$standard "$work/one.c"
    done
    [ -z "$cxx" ] || try $cxx -std=c++11 "$work/one.cc"
done < <(cd "$source_dir/include" && find . -name '*.h' | sed 's:^\./::' | sort)
[ "$seen" -ge 4 ] || { echo "only $seen headers seen"; bad=1; }
exit "$bad"
