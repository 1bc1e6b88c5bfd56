#!/bin/bash
# What the documents show is true: each C snippet compiles alone and without a warning, a snippet of
# an example is that example, each command named is one that the program has, and each field of the
# public structures is in the page of the configuration.
set -u -o pipefail
source_dir=$(cd "${srcdir:-.}" && pwd)
nearcache=${NEARCACHE:-$PWD/nearcache}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
bad=0 snippets=0
say() { echo "$*"; bad=1; }

# snippets FILE LANGUAGE: into $work/N.LANGUAGE, one file each.
cut_snippets() {
    awk -v language="$2" -v out="$work/snippet" '
        $0 == "```" language { n++; on = 1; next }
        /^```/ { if (on) close(out "." n); on = 0 }
        on { print >(out "." n) }' "$1"
}

for page in "$source_dir"/README.md "$source_dir"/docs/*.md "$source_dir"/bench/README.md; do
    rm -f "$work"/snippet.*
    cut_snippets "$page" c
    for snippet in "$work"/snippet.*; do
        [ -f "$snippet" ] || continue
        snippets=$((snippets + 1))
        # shellcheck disable=SC2086  # CC may hold options
        ${CC:-cc} -std=c11 -Wall -Wextra -Werror -fsyntax-only -I"$source_dir/include" -x c "$snippet" \
            >"$work/out" 2>&1 || { say "${page#"$source_dir"/}: a snippet does not compile:"; cat "$work/out"; }
        if grep -q '^int main' "$snippet" && grep -q 'examples/embed20.c' "$page"; then
            sed '/^\/\*/d' "$source_dir/examples/embed20.c" | cmp -s - "$snippet" ||
                say "${page#"$source_dir"/}: not what examples/embed20.c is"
        fi
    done
    rm -f "$work"/snippet.*
    cut_snippets "$page" sh
    cat "$work"/snippet.* 2>/dev/null | grep -oE '(^|[ (])(\./)?nearcache [a-z]+' | awk '{ print $NF }' |
        sort -u >"$work/commands"
    while read -r command; do
        "$nearcache" "$command" --help >/dev/null 2>&1 ||
            say "${page#"$source_dir"/}: shows 'nearcache $command', which there is not"
    done <"$work/commands"
    cat "$work"/snippet.* 2>/dev/null | sed -n 's/^\.\/quickstart \{0,1\}\([a-z]*\).*/\1/p' | sort -u |
        while read -r word; do
            [ -z "$word" ] || "$source_dir/quickstart" help | grep -q "quickstart $word" ||
                echo "${page#"$source_dir"/}: shows './quickstart $word', which there is not"
        done >"$work/out"
    [ ! -s "$work/out" ] || { cat "$work/out"; bad=1; }
done
[ "$snippets" -ge 5 ] || say "only $snippets snippets seen"

# The fields of the structures that a user fills in.
awk '/^struct nearcache_(config|tier_config|redis|read|write) \{/ { on = 1; next }
    /^\};/ { on = 0 }
    on' "$source_dir/include/nearcache.h" | sed 's:/\*.*$::; /^ *\*/d' |
    grep -oE '\b[a-z_0-9]+(\)\([^)]*\))?[,;]' | sed 's/[),;].*//' | sort -u >"$work/fields"
while read -r field; do
    case $field in size | arg | *_arg) continue ;; esac
    grep -qw "$field" "$source_dir/docs/configuration.md" ||
        say "docs/configuration.md: nothing on the field $field"
done <"$work/fields"
[ "$(wc -l <"$work/fields")" -ge 20 ] || say "only $(wc -l <"$work/fields") fields seen"

"$nearcache" --help | sed -n 's/^  \([a-z]*\) .*/\1/p' | while read -r command; do
    grep -qE "^\.Ss $command\b" "$source_dir/src/cli/nearcache.1" || echo "$command"
done >"$work/out"
[ ! -s "$work/out" ] || say "src/cli/nearcache.1: nothing on: $(tr '\n' ' ' <"$work/out")"
exit "$bad"
