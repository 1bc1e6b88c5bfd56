#!/bin/bash
# The queue against BullMQ, version 6.
. "$(dirname "$0")/lib.sh"
interop 6
