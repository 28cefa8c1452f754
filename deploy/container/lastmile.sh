#!/bin/sh
# The lastmile command of the image. SIGUSR1 would open the inspector of the process that decides.
exec /usr/local/bin/node --disable-sigusr1 /opt/lastmile/broker/main.js "$@"
