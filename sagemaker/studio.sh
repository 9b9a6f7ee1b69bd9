#!/usr/bin/env bash
# Studio JupyterLab space, at every start of the application. Here the user's home persists, and
# the platform runs this as that user.
set -euo pipefail
export D2L_INIT_VOLUME=${D2L_INIT_VOLUME:-$HOME}
exec bash "$(dirname "${BASH_SOURCE[0]}")/on-start.sh"
