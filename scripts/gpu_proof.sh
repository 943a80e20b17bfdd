#!/usr/bin/env bash
# What has to be seen on a GPU, in nine minutes, offline, on the torch that is installed (docs/gpu.md).
#
#     scripts/gpu_proof.sh [--device cuda|cpu] [--budget-s 540] [--out DIR] [--checks CHECK ...]
#
# PYTHON (python3) is the one that has torch. Where there is a folder of wheels (scripts/gpu_wheels.sh; WHEELS,
# build/gpu_wheels), what PYTHON lacks is installed from it into a virtual environment that ends with the proof.
set -euo pipefail
started=$(date +%s)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
wheels=${WHEELS:-$root/build/gpu_wheels}
if [ -d "$wheels" ]; then
    [ -f "$wheels/requirements.txt" ] || {
        echo "$wheels has no requirements.txt, but must be made by scripts/gpu_wheels.sh; run it again" >&2
        exit 2
    }
    # In temporary files: a checkout may be on a slow disk, and the packages that PYTHON has are not touched.
    own=$(mktemp -d)
    trap 'rm -rf "$own"' EXIT
    "$python" -m venv --without-pip "$own"
    # PYTHON may be in a virtual environment itself, which --system-site-packages would pass over.
    "$python" -c 'import site, sysconfig
print(*{sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}, sep="\n")' \
        > "$("$own/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/installed.pth"
    "$own/bin/python" "$(ls "$wheels"/pip-*.whl)/pip" install --quiet --no-index --no-compile \
        --disable-pip-version-check --find-links "$wheels" --requirement "$wheels/requirements.txt"
    python=$own/bin/python
fi
export PYTHONPATH="$root/src${PYTHONPATH:+:$PYTHONPATH}"
"$python" "$root/scripts/gpu_proof.py" --started "$started" "$@"
