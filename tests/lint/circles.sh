#!/bin/bash
# The files of a folder form no circle, neither by what they include nor by whose functions they call
# (a header and its source count as one). What has to go back up goes through a function that is
# registered below, which is no call here. Folders are held against each other by layers.sh.
set -u -o pipefail
source_dir=${srcdir:-.}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# FROM TO WHY for each header of the same folder that a file includes.
by_include() {
    grep -HE '^#[[:space:]]*include[[:space:]]*"' "$source_dir/src/$1"/*.[ch] |
        sed -nE "s:^.*/([a-z0-9_]+)\.[ch]\:.*\"($1/([a-z0-9_]+)\.h)\".*:\1 \3 includes_\2:p"
}

# FROM TO WHY for each function of another object of the same folder that an object calls.
by_call() {
    find "src/$1" -maxdepth 1 -name '*.o' -exec nm -A -g {} + 2>/dev/null | awk '
        { file = $1; sub(/:.*/, "", file); sub(/.*\//, "", file); sub(/\.o$/, "", file)
          name = $NF; kind = $(NF - 1) }
        name !~ /^(nc|nearcache)_/ { next }
        kind ~ /^[TDBR]$/ { home[name] = file }
        kind == "U" { uses[file " " name] = 1 }
        END { for (use in uses) { split(use, of, " ")
                  if (of[2] in home) print of[1], home[of[2]], "calls_" of[2] } }'
}

bad=0 seen=0
for folder in "$source_dir"/src/*/; do
    folder=$(basename "$folder")
    { by_include "$folder"; by_call "$folder"; } | awk '$1 != $2' | sort -u >"$work/uses"
    seen=$((seen + $(grep -c ' calls_' "$work/uses")))
    cut -d' ' -f1,2 "$work/uses" | LC_ALL=C tsort >/dev/null 2>"$work/loop" && continue
    bad=1
    echo "src/$folder: a circle:"
    sed -n 's/^tsort: \([a-z0-9_]*\)$/\1/p' "$work/loop" | sort -u >"$work/members"
    awk 'FNR == NR { member[$1] = 1; next }
         ($1 in member) && ($2 in member) { sub(/_/, " ", $3); print "    " $1 " -> " $2 ": " $3 }' \
        "$work/members" "$work/uses"
done
[ "$seen" -gt 100 ] || { echo "only $seen calls seen: this lint looks in the wrong place"; bad=1; }
exit "$bad"
