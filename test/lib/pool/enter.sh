#!/bin/sh
# enter.sh GROUP NETNS NAME PROGRAM [ARGUMENT...]
# Becomes PROGRAM inside a host of a test pool: in the host's control group (a folder), network namespace (a path) and under its name.
# The group comes first, so that nothing the program starts can be outside it.
set -eu
group=$1 netns=$2 name=$3
shift 3
echo $$ >"$group/cgroup.procs"
exec nsenter --net="$netns" unshare --uts sh -c 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"' "$name" "$@"
