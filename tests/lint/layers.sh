#!/bin/bash
# No include goes against an arrow, and no folder is part of a circle.
#
#     base -> metrics -> memory -> store -> cache      a cache that knows no network
#     base -> metrics -> redis                         a client that knows no cache
#     cache + redis -> sync                            the only folder that knows both
#     redis -> queue                                   jobs; knows no cache
#     all -> api                                       the exported functions
#     include -> cli                                   a plain user of the public headers
set -u -o pipefail
cd "${srcdir:-.}" || exit 1

declare -A may=(
    [base]="base"
    [metrics]="base metrics"
    [memory]="base metrics memory"
    [store]="base metrics memory store"
    [cache]="base metrics memory store cache"
    [redis]="base metrics redis"
    [sync]="base metrics memory store cache redis sync"
    [queue]="base metrics redis queue"
    [api]="base metrics memory store cache redis sync queue api"
    [cli]="cli"
)
bad=0 seen=0
for folder in src/*/; do
    layer=$(basename "$folder")
    if [ -z "${may[$layer]:-}" ]; then
        echo "src/$layer: a folder that is in no layer; say in $0 what it may include"
        bad=1
        continue
    fi
    while IFS=: read -r file line text; do
        target=$(sed -n 's/^#[[:space:]]*include[[:space:]]*"\([a-z]*\)\/.*/\1/p' <<<"$text")
        name=$(sed -n 's/^#[[:space:]]*include[[:space:]]*"\(.*\)"/\1/p' <<<"$text")
        seen=$((seen + 1))
        case $name in
        nearcache.h | nearcache/* | config.h) continue ;;
        esac
        if [ -z "$target" ]; then
            echo "$file:$line: \"$name\": name the folder too, so that the line shows its layer"
            bad=1
        elif [[ " ${may[$layer]} " != *" $target "* ]]; then
            echo "$file:$line: $layer may not know $target: \"$name\""
            bad=1
        fi
    done < <(grep -rnE '^#[[:space:]]*include[[:space:]]*"' "$folder" --include='*.[ch]')
done
[ "$seen" -gt 100 ] || { echo "only $seen includes seen: this lint looks in the wrong place"; bad=1; }
exit "$bad"
