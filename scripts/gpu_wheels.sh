#!/usr/bin/env bash
# The wheels that scripts/gpu_proof.sh needs on a machine without network, into build/gpu_wheels (WHEELS).
#
#     scripts/gpu_wheels.sh [--python 3.12] [--there NAME,NAME...] [--most-mib 64]
#
# All that sweepkit needs but torch, what torch brings, and wandb, which only shows runs; for Linux on x86-64.
# --python is the version there, --there names what is installed there besides: it is not carried, and
# gpu_proof.sh refuses where it is missing or too old. Tree and wheels together must stay below --most-mib.
# PYTHON (python3) has pip.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3} wheels=${WHEELS:-$root/build/gpu_wheels}
version=3.12 there="" most=64
while [ $# -gt 0 ]; do
    case $1 in
        --python) version=${2:?--python must have a value, such as 3.12} ;;
        --there) there=${2:?--there must have a value, such as numpy,scipy} ;;
        --most-mib) most=${2:?--most-mib must have a value, such as 64} ;;
        *) echo "$1 is no option of gpu_wheels.sh, but must be --python, --there or --most-mib" >&2; exit 2 ;;
    esac
    shift 2
done
new=$wheels.new
rm -rf "$new"
mkdir -p "$new"
"$python" - "$root/pyproject.toml" > "$new/requirements.txt" <<'EOF'
import re, sys, tomllib
with open(sys.argv[1], "rb") as file:
    needed = tomllib.load(file)["project"]["dependencies"]
print(*(line for line in needed if not re.match(r"(torch|wandb)\b", line)), sep="\n")
EOF
pip=("$python" -m pip --disable-pip-version-check --quiet)
# The one that PyPI has no wheel of; it is pure Python.
"${pip[@]}" wheel --no-deps --constraint "$root/constraints.txt" --wheel-dir "$new" antlr4-python3-runtime
platforms=()
for glibc in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux1; do
    platforms+=(--platform "${glibc}_x86_64")
done
"${pip[@]}" download --only-binary=:all: --python-version "$version" --implementation cp "${platforms[@]}" \
    --find-links "$new" --constraint "$root/constraints.txt" --dest "$new" \
    --requirement "$new/requirements.txt" pip
for name in ${there//,/ }; do
    rm -f "$new/$(tr -- - _ <<< "$name")"-[0-9]*.whl
done
rm -rf "$wheels"
mv "$new" "$wheels"
tree=$(cd "$root" && { git ls-files -z --cached --others --exclude-standard || find . -type f -print0; } \
    | du --bytes --total --files0-from=- | tail -n 1 | cut -f 1)
mib=$(((tree + $(du --bytes --summarize "$wheels" | cut -f 1) + 1048575) / 1048576))
if [ "$mib" -ge "$most" ]; then
    echo "tree and $wheels have $mib MiB, but must have less than $most (--most-mib); the largest wheels:" >&2
    du --bytes "$wheels"/*.whl | sort -rn | head -8 | awk '{ sub(".*/", "", $2); print "    " $1 " bytes  " $2 }' >&2
    echo "name with --there those that the GPU's machine has" >&2
    exit 1
fi
echo "$wheels: $(ls "$wheels"/*.whl | wc -l) wheels for Python $version, $mib MiB with the tree"
