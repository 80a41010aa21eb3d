#!/usr/bin/env bash
# in_parts.sh CHECKPOINTS OUT COMMAND...: a training that goes on from, and leaves, its checkpoints in OUT/checkpoint as
# parts of 15 MiB, for machines that bring back files no larger than 16. A run that was cut off leaves the parts before it.
set -euo pipefail
checkpoints=$1
out=$2
shift 2
mkdir -p "$checkpoints" "$out"
for parts in "$out/checkpoint" "$out/checkpoint.old"; do
	if [ -d "$parts" ]; then
		cat "$parts"/part.* | tar -x -C "$checkpoints"
		break
	fi
done
"$@"
rm -rf "$out/checkpoint.new"
mkdir "$out/checkpoint.new"
tar -c -C "$checkpoints" . | split -b 15M -d - "$out/checkpoint.new/part."
if [ -d "$out/checkpoint" ]; then
	mv "$out/checkpoint" "$out/checkpoint.old"
fi
mv "$out/checkpoint.new" "$out/checkpoint"
rm -rf "$out/checkpoint.old"
