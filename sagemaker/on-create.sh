#!/usr/bin/env bash
# Notebook instance, when it is created: starts to build the environment, once.
# The platform runs this as root; the environment belongs to its user.
set -euo pipefail
if [ "$(id -u)" = 0 ] && id ec2-user >/dev/null 2>&1; then
    exec sudo --login -u ec2-user bash "$(realpath "$0")"
fi
export D2L_INIT_VOLUME=${D2L_INIT_VOLUME:-$HOME/SageMaker}
# shellcheck source=sagemaker/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

mkdir -p "$room"
build_in_background
