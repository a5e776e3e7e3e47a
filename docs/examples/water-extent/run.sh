#!/usr/bin/env bash
# What the DPS calls, with the algorithm's inputs by position. It runs in an empty folder and keeps what is in output/.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
scene=$(find input -type f | head -n 1)
python "$here/main.py" --scene "$scene" --datetime "$1" --threshold "$2" --collection_id "${3-}" --output_dir output
