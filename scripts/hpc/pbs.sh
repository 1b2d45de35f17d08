#!/usr/bin/env bash
# A study as a PBS job (OpenPBS, PBS Professional) that survives its walltime: PBS sends no signal in time, so quantbound
# gets --max-time from the job's own walltime, saves its progress, leaves with 75, and the job submits itself again.
#
#     qsub -l select=2:ncpus=32:mpiprocs=8:ompthreads=4 -l walltime=04:00:00 \
#          -v STUDY=depth.toml,OUTPUT=depth.h5 scripts/hpc/pbs.sh
#
#     STUDY, OUTPUT    relative to where qsub is called, on a file system that all nodes share (needed)
#     OPTIONS          more options of quantbound sweep, separated by blanks
#     MARGIN           minutes before the walltime at which to stop (default 5)
#     SCRIPT           this file, for submitting it again, where it is not scripts/hpc/pbs.sh from there
#     QUANTBOUND       the program (default: quantbound, as PATH finds it)
#
#PBS -N quantbound
#PBS -l select=1:ncpus=4:mpiprocs=4:ompthreads=1
#PBS -l walltime=04:00:00
#PBS -j oe
#PBS -r y
set -uo pipefail

say() { echo "pbs.sh: $(date '+%F %T') $*"; }
fail() { say "error: $*" >&2; exit 2; }

[ -n "${PBS_JOBID:-}" ] || fail "this is a batch script: start it with qsub"
if [ -z "${STUDY:-}" ] || [ -z "${OUTPUT:-}" ]; then
  fail "name the study and the result: qsub -v STUDY=...,OUTPUT=... pbs.sh"
fi
cd "${PBS_O_WORKDIR:-.}" || fail "cannot go to $PBS_O_WORKDIR"
program=${QUANTBOUND:-quantbound}
command -v "$program" >/dev/null || fail "there is no program '$program'; load its module, or give QUANTBOUND with -v"

# "04:00:00" -> minutes, less the margin.
walltime=$(qstat -f "$PBS_JOBID" | sed -n 's/^ *Resource_List.walltime = *//p')
IFS=: read -r hours minutes _ <<<"$walltime"
[[ "$hours" =~ ^[0-9]+$ && "$minutes" =~ ^[0-9]+$ ]] || fail "qstat does not tell the walltime of the job: '$walltime'"
limit=$((10#$hours * 60 + 10#$minutes - ${MARGIN:-5}))
[ "$limit" -ge 1 ] || fail "a walltime of $walltime leaves no time with a margin of ${MARGIN:-5} minutes"

threads=${OMP_NUM_THREADS:-1} # PBS sets it from ompthreads
export OMP_NUM_THREADS=$threads OMP_PLACES=cores OMP_PROC_BIND=close
ranks=$(wc -l <"${PBS_NODEFILE:?}")
read -ra options <<<"${OPTIONS:-}"
progress() { find "$OUTPUT.journal" -type f -exec cksum {} + 2>/dev/null | sort | cksum; }

say "job $PBS_JOBID: $STUDY -> $OUTPUT, $ranks ranks, stops after $limit minutes"
before=$(progress)
mpirun -n "$ranks" --hostfile "$PBS_NODEFILE" --map-by "slot:PE=$threads" --bind-to core \
  "$program" sweep "$STUDY" --output "$OUTPUT" --resume --max-time "$limit" "${options[@]}"
code=$?
say "quantbound ended with $code"
[ "$code" -eq 75 ] || exit "$code"
if [ "$before" = "$(progress)" ]; then
  say "not submitted again: this start finished nothing, and the next would not either; give the job more walltime" >&2
  exit 75
fi
next=$(qsub -l "walltime=$walltime" -v "STUDY=$STUDY,OUTPUT=$OUTPUT,OPTIONS=${OPTIONS:-},MARGIN=${MARGIN:-5},QUANTBOUND=$program,SCRIPT=${SCRIPT:-}" \
  "${SCRIPT:-scripts/hpc/pbs.sh}") || fail "qsub failed; submit the same command again, it resumes"
say "submitted again as $next"
