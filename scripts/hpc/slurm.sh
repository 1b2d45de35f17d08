#!/usr/bin/env bash
# A study as a Slurm job that survives its walltime: five minutes before the end Slurm signals this script, quantbound
# saves its progress and leaves with 75, and the job puts itself back into the queue until the study is done.
#
#     sbatch [sbatch options] scripts/hpc/slurm.sh STUDY OUTPUT [options of quantbound sweep]
#     sbatch --ntasks=64 --time=04:00:00 scripts/hpc/slurm.sh depth.toml depth.h5 --set quantization.bits=[4,8]
#
# Options on the command line of sbatch replace those below. --signal must leave time for the walltime to be worth it:
# Slurm may send it up to a minute early. STUDY, OUTPUT and the program must be on a file system that all nodes share.
#
#     QUANTBOUND           the program (default: quantbound, as PATH finds it)
#     QUANTBOUND_LAUNCHER  how ranks are started (default: mpirun, every rank bound to as many cores as it has threads)
#
# slurm_array.sh runs many studies with this script; then it is `slurm.sh --list FILE`, see there.
#
#SBATCH --job-name=quantbound
#SBATCH --ntasks=4
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -uo pipefail

say() { echo "slurm.sh: $(date '+%F %T') $*"; }
fail() { say "error: $*" >&2; exit 2; }

if [ "${1:-}" = --list ]; then
  # One line per array task: OUTPUT STUDY [OPTION...], separated by blanks.
  list=${2:?"--list needs a file"}
  line=$(sed -n "${SLURM_ARRAY_TASK_ID:?"--list is for array jobs"}p" "$list")
  read -ra words <<<"$line"
  [ "${#words[@]}" -ge 2 ] || fail "line $SLURM_ARRAY_TASK_ID of $list has no output and study"
  output=${words[0]} study=${words[1]} options=("${words[@]:2}")
else
  [ $# -ge 2 ] || fail "usage: sbatch slurm.sh STUDY OUTPUT [options of quantbound sweep]"
  study=$1 output=$2 options=("${@:3}")
fi
[ -n "${SLURM_JOB_ID:-}" ] || fail "this is a batch script: start it with sbatch"

program=${QUANTBOUND:-quantbound}
command -v "$program" >/dev/null || fail "there is no program '$program'; load its module, or set QUANTBOUND"
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OMP_PLACES=cores OMP_PROC_BIND=close
# mpirun knows the nodes from Slurm. (With srun: QUANTBOUND_LAUNCHER="srun --mpi=pmix --cpus-per-task=N".)
read -ra launcher <<<"${QUANTBOUND_LAUNCHER:-mpirun -n ${SLURM_NTASKS:-1} --map-by slot:PE=$OMP_NUM_THREADS --bind-to core}"

# What the journals hold: changes with every finished task and every saved state, and not with a start alone.
progress() { find "$output.journal" -type f -exec cksum {} + 2>/dev/null | sort | cksum; }

say "job $SLURM_JOB_ID on ${SLURM_JOB_NODELIST:-?}, start $((${SLURM_RESTART_COUNT:-0} + 1)): $study -> $output"
before=$(progress)
# --resume begins anew where there is nothing to resume, so the same command is right for every start.
"${launcher[@]}" "$program" sweep "$study" --output "$output" --resume "${options[@]}" &
launched=$! signalled=no
# mpirun hands USR1 on to all ranks. (It answers TERM by ending them within a second or two, and returns 1.)
trap 'signalled=yes; say "the walltime is near: asking quantbound to stop"; kill -USR1 "$launched" 2>/dev/null' USR1
wait "$launched"
code=$?
while [ $signalled = yes ] && [ "$code" -gt 128 ]; do # the signal ended the wait, not the program
  signalled=no
  wait "$launched"
  code=$?
done
[ "$code" -eq 138 ] && code=75 # USR1 came before mpirun listened: nothing is lost, and nothing was done
say "quantbound ended with $code"
[ "$code" -eq 75 ] || exit "$code"

if [ "$before" = "$(progress)" ]; then
  say "not requeued: this start finished nothing, and the next would not either; give the job a longer --time" >&2
  exit 75
fi
say "back into the queue"
scontrol requeue "$SLURM_JOB_ID" || fail "scontrol requeue failed; submit the same command again, it resumes"
