#!/usr/bin/env bash
# Notebook instance, at every start: registers the kernel again, for only the volume outlives a
# stop. Where the environment is not whole it is built, in the background. The exit status is 0
# whatever happens: a lifecycle script that fails would keep the instance from starting.
set -euo pipefail
if [ "$(id -u)" = 0 ] && id ec2-user >/dev/null 2>&1; then
    exec sudo --login -u ec2-user bash "$(realpath "$0")"
fi
export D2L_INIT_VOLUME=${D2L_INIT_VOLUME:-$HOME/SageMaker}
# shellcheck source=sagemaker/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p "$room"
if is_complete; then
    register || say "the kernel could not be registered: see $log"
else
    build_in_background
fi
