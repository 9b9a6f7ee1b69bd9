#!/usr/bin/env bash
# Notebook instance, when it is created: there is no environment yet, so the start's script starts
# to build it in the background.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/on-start.sh"
