#!/bin/bash
# .clang-format decides the layout of every C file. Only version 14 counts: others differ.
set -u -o pipefail
cd "${srcdir:-.}" || exit 1
for tool in clang-format-14 clang-format; do
    command -v "$tool" >/dev/null && "$tool" --version | grep -q 'version 14\.' && break
    tool=
done
[ -n "$tool" ] || { echo "skipped: no clang-format 14"; exit 77; }
bad=0
while read -r file; do
    "$tool" --style=file "$file" | cmp -s - "$file" || {
        echo "$file: not as .clang-format has it; mend with: $tool -i $file"
        bad=1
    }
done < <(find include src tests bench examples -name '*.[ch]' | sort)
exit "$bad"
