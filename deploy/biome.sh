#!/usr/bin/env bash
# Runs the biome binary that npm installed for this machine. The wrapper package `@biomejs/biome` is not used:
# it names binaries for platforms that not every registry carries, and `npm ci` then fails for all.
set -euo pipefail
cd "$(dirname "$0")/.."
case "$(uname -m)" in x86_64) cpu=x64 ;; aarch64) cpu=arm64 ;; *) echo "no biome binary for $(uname -m)" >&2; exit 1 ;; esac
exec "node_modules/@biomejs/cli-linux-$cpu/biome" "$@" --error-on-warnings --log-level=warn
