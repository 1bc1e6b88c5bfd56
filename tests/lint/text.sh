#!/bin/bash
# The tree speaks of itself alone, in ASCII, and leaves nothing half done: no paths of somebody's
# machine, no TODO, no trailing blanks, no line of a merge; scripts and links that exist.
set -u -o pipefail
cd "${srcdir:-.}" || exit 1
bad=0
files() {
    find README.md LICENSE Makefile.am configure.ac quickstart nearcache.pc.in .clang-format \
        include src bench tests docs examples build-aux/run-test build-aux/lua2c m4/nc_flags.m4 \
        -type f ! -path '*/fuzz/*_corpus/*' ! -path '*/data/*' ! -name '.dirstamp' ! -name '*.o' \
        ! -name '*.lo' ! -path '*/.deps/*' ! -path '*/.libs/*' ! -path '*/__pycache__/*' \
        ! -path "tests/lint/text.sh" ! -name '*.la' ! -name '*.log' ! -name '*.trs' -print0
}
# finds WHAT PATTERN [GREP-OPTION...]
finds() {
    local what=$1 pattern=$2 hits
    shift 2
    hits=$(files | LC_ALL=C xargs -0 grep -nIP "$@" -e "$pattern" | head -n 20)
    [ -z "$hits" ] || { printf '%s:\n%s\n' "$what" "$hits"; bad=1; }
}
finds "a path of one machine" '/(home|Users)/[a-z]+|/work/[a-z]|/tmp/(wt|b)-'
finds "something left to do" '\b(TODO|FIXME|XXX|HACK)\b'
finds "left by a merge" '^(<<<<<<<|>>>>>>>|=======$)'
finds "blanks at the end of a line" '[ \t]+$'
finds "not ASCII" '[^\x00-\x7F]' --exclude='*.mjs' --exclude='*.json'
while IFS=: read -r file link; do
    case $link in http*| \#* | mailto:*) continue ;; esac
    [ -e "$(dirname "$file")/${link%%#*}" ] || { echo "$file: links to $link, which is not there"; bad=1; }
done < <(grep -oHE '\]\([^)]+\)' README.md docs/*.md bench/README.md | sed -E 's/^([^:]*):\]\(([^)]*)\)$/\1:\2/')
exit "$bad"
