#!/bin/bash
# The short form of the fault harness: some faults, one seed each, less than a minute.
set -u -o pipefail
here=$(cd "$(dirname "$0")" && pwd) || exit 1
for tool in python3 redis-server; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
PYTHONDONTWRITEBYTECODE=1 exec python3 "$here/run.py" --program "${NEARCACHE:-./nearcache}" \
    --jobs 4 --short
