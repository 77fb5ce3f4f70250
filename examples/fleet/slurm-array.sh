#!/bin/bash
# Sixteen workers of one GPU each: sbatch slurm-array.sh
# They end when the queue has been empty for ten minutes, and so give the GPUs back.
#SBATCH --job-name=haq-worker
#SBATCH --array=0-15
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@300
# Five minutes before the time is over each is told to end after the evaluation in work; what it has
# not answered by then is another's.

export HAQ_QUEUE=${HAQ_QUEUE:?nats://HOST:4222}
exec srun haq worker --device cuda --threads 4 --idle-s 600 \
    --name "slurm-${SLURM_ARRAY_JOB_ID}-${SLURM_ARRAY_TASK_ID}" \
    --cache "${SLURM_TMPDIR:-/tmp}/haq"
