#!/bin/sh
# Makes a development instance in the volume when there is none, then becomes the command that was asked for.
# A development instance listens on loopback only: clients run in this container, or share its network namespace.
set -eu

instance=/var/lib/lastmile/instance

if [ "${1:-serve}" != serve ]; then
  exec lastmile "$@"
fi
if [ ! -e "$instance/lastmile.yaml" ]; then
  lastmile init --directory "$instance"
fi
if [ "$#" -gt 0 ]; then shift; fi
# exec: the broker is the process that the runtime signals.
exec lastmile serve --instance "$instance" "$@"
