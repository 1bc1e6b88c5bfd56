#!/bin/bash
# The shared library exports exactly the functions that the public headers declare.
set -u -o pipefail
source_dir=${srcdir:-.}
library=.libs/libnearcache.so
[ -f "$library" ] || { echo "skipped: no shared library (--disable-shared)"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

nm -D --defined-only "$library" | awk '$2 == "T" || $2 == "D" || $2 == "B" || $2 == "R" { print $3 }' |
    sed 's/@.*//' | grep -v -e '^NEARCACHE_' -e '^__gcov' -e '^mangle_path$' -e '^__asan' -e '^__odr_asan' |
    LC_ALL=C sort >"$work/exported"
LC_ALL=C sort "$source_dir/src/nearcache.sym" >"$work/listed"
cat "$source_dir/include/nearcache.h" "$source_dir"/include/nearcache/*.h |
    tr '\n' ' ' | sed 's:/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/: :g' | grep -oE '\bnearcache_[a-z0-9_]+\(' |
    tr -d '(' | LC_ALL=C sort -u >"$work/called"

bad=0
if ! diff "$work/listed" "$work/exported" >"$work/diff"; then
    echo "src/nearcache.sym (<) and what $library exports (>) differ:"
    cat "$work/diff"
    bad=1
fi
while read -r name; do
    grep -qx "$name" "$work/called" || {
        echo "$name is exported and no public header declares it"
        bad=1
    }
done <"$work/exported"
[ -s "$work/exported" ] || { echo "nothing is exported"; bad=1; }
exit "$bad"
