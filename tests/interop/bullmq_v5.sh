#!/bin/bash
# The queue against BullMQ, version the last 5.
. "$(dirname "$0")/lib.sh"
interop 5
