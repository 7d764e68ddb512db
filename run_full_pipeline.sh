#!/usr/bin/env bash
# `keras-ecg pipeline` in an environment of its own: raw recordings to an inter-patient result with its report.
# Without arguments: on the bundled excerpt, in minutes.
#
#   bash run_full_pipeline.sh
#   bash run_full_pipeline.sh --config configs/mitdb.yaml                        # downloads the whole database first
#   bash run_full_pipeline.sh --config configs/mitdb.yaml --data-dir FOLDER      # a copy that is already there
#   bash run_full_pipeline.sh --stages preprocess pack                           # some stages only; see --help
set -euo pipefail
cd "$(dirname "$0")"
. .ci/venv.sh requirements.txt
exec "$python" -m keras_ecg pipeline "$@"
