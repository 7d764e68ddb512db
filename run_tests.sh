#!/usr/bin/env bash
# The tests, and before them the style and the types of the public interface. Some tests use whole databases and skip
# without the variables that name their folders: MITDB_DIR, SVDB_DIR, LUDB_DIR, CINC2017_DIR, PTBXL_DIR, FORMATS_DIR.
#
#   bash run_tests.sh              # 8 minutes on two cores
#   bash run_tests.sh --slow       # the slow ones too
#   bash run_tests.sh tests/test_metrics.py -k bootstrap
set -euo pipefail
cd "$(dirname "$0")"
. .ci/venv.sh requirements-dev.txt
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m ty check --error-on-warning
if [ "${1:-}" = "--slow" ]; then
    shift
    set -- -m "slow or not slow" "$@"
fi
exec "$python" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
