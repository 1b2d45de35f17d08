#!/usr/bin/env bash
# Many studies as one Slurm array job, each a task that survives its walltime (slurm.sh), then a job that merges their
# results into FOLDER/merged.h5. Run it where you would run sbatch:
#
#     scripts/hpc/slurm_array.sh STUDIES FOLDER [sbatch options]
#     scripts/hpc/slurm_array.sh studies.txt results --ntasks=16 --time=02:00:00 --array=1-500%20
#
# STUDIES is a folder of study files (*.toml), or a text file with one study per line: the file, then options of
# quantbound sweep, separated by blanks; empty lines and those that begin with # are skipped. So one study can be cut:
#
#     depth.toml --set quantization.bits=[2,3,4]
#     depth.toml --set quantization.bits=[5,6,7,8]
#
# Results are FOLDER/001-depth.h5, 002-..., merged in this order. Running it again submits everything again: what is
# complete says so and ends at once, what is not is resumed. Environment variables as for slurm.sh.
set -euo pipefail

fail() { echo "slurm_array.sh: error: $*" >&2; exit 2; }

[ $# -ge 2 ] || fail "usage: slurm_array.sh STUDIES FOLDER [sbatch options]"
studies=$1 folder=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -d "$studies" ]; then
  shopt -s nullglob
  lines=("$studies"/*.toml)
else
  [[ "$studies" != *.toml ]] || fail "'$studies' is one study; give a folder of studies, or a list with a study per line"
  [ -r "$studies" ] || fail "there is no folder and no list '$studies'"
  mapfile -t lines < <(grep -vE '^[[:space:]]*(#|$)' "$studies")
fi
[ "${#lines[@]}" -gt 0 ] || fail "no study in '$studies'"

[[ "$folder" != *[[:space:]]* ]] || fail "a folder with blanks in its name is not possible here: '$folder'"
mkdir -p "$folder"
list=$folder/studies.list outputs=()
: >"$list.partial"
for line in "${lines[@]}"; do
  read -r study options <<<"$line"
  [ -f "$study" ] || fail "there is no study '$study'"
  outputs+=("$(printf '%s/%03d-%s.h5' "$folder" $((${#outputs[@]} + 1)) "$(basename "$study" .toml)")")
  echo "${outputs[-1]} $study $options" >>"$list.partial"
done
mv "$list.partial" "$list"

log=$folder/%x-%A_%a.log
array=$(sbatch --parsable --array="1-${#lines[@]}" --output="$log" "$@" "$here/slurm.sh" --list "$list")
array=${array%%;*} # a federation adds its cluster's name
echo "array job $array: ${#lines[@]} studies, listed in $list"

# afterany, not afterok: pieces of work that fail in a study (exit code 3) are in its result, and worth merging. What is
# missing altogether makes merge fail, and it says what.
merge=$(sbatch --parsable --dependency="afterany:$array" --job-name=quantbound-merge --ntasks=1 --time=00:30:00 \
  --output="$folder/%x-%j.log" \
  --wrap="$(printf '%q ' "${QUANTBOUND:-quantbound}" merge "${outputs[@]}" -o "$folder/merged.h5")")
echo "merge job ${merge%%;*}: $folder/merged.h5"
