# What demos/run, tests/run and tests/bench/run share: install what is missing,
# configure, build quietly. Sourced, with `program` set to the name to show in
# messages. Everything said here goes to stderr: stdout belongs to what is run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What it takes to configure and build everything but the benchmark's peers.
build_packages=(
  g++ cmake ninja-build pkg-config ccache
  libcaf-dev libfmt-dev catch2
  libcurl4-openssl-dev libsqlite3-dev libpq-dev libssl-dev zlib1g-dev libcpp-httplib-dev
  ca-certificates sqlite3
)
# Servers that tests start, what checks metrics (promtool), and what makes networks
# (ip).
server_packages=(postgresql prometheus iproute2)
# What opens the live page in tests; without it, they are left out.
browser_packages=(chromium chromium-driver)
peer_packages=(libasio-dev libuv1-dev libtbb-dev python3)
style_packages=(clang-format-14 clang-tidy-16)

say() {
  printf '%s: %s\n' "$program" "$*" >&2
}

# Runs a command; its output is shown only when it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -ne 0 ]; then
    cat "$log" >&2
    say "failed: $*"
  fi
  rm -f "$log"
  return "$status"
}

# Installs those of the named Debian packages that are missing. Does nothing on a
# system without dpkg: CMake says what it cannot find.
require_packages() {
  command -v dpkg-query >/dev/null || return 0
  local installed missing=() package
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" \
              2>/dev/null | sed -n 's/^ii *//p') || true
  for package in "$@"; do
    grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "cannot install ${missing[*]}: not root, and there is no sudo; have them installed and try again"
      return 1
    fi
    as_root=(sudo)
  fi
  say "installing with apt-get: ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
             apt-get -q -y -o DPkg::Lock::Timeout=300)
  quietly "${apt[@]}" update
  quietly "${apt[@]}" install --no-install-recommends "${missing[@]}"
}

# Configures a build folder: `configure FOLDER PRESET [cmake arguments]`.
configure() {
  local folder=$1 preset=$2
  shift 2
  (cd "$root" && quietly cmake --preset "$preset" -B "$folder" "$@")
}

# Builds targets in a folder: `build FOLDER WHAT TARGET...`. Says one line when the
# first file is compiled, so that a build with nothing to do says nothing.
build() {
  local folder=$1 what=$2 log status=0
  shift 2
  log=$(mktemp)
  ninja -C "$folder" "$@" 2>&1 </dev/null | tee "$log" | {
    grep -m 1 -q -E '^\[[0-9]+/[0-9]+\] (Building|Linking)' \
      && say "building $what in $folder ..."
    cat >/dev/null
  } || status=${PIPESTATUS[0]}
  if [ "$status" -ne 0 ]; then
    # Everything from the first failing command on; what was built is of no use.
    sed -n '/^FAILED:\|^ninja: \(error\|fatal\)/,$p' "$log" >&2
    say "cannot build $what: see the errors above"
  fi
  rm -f "$log"
  return "$status"
}

# Keeps a second run in the same folder waiting until the first has built it.
lock() {
  mkdir -p "$1"
  exec 9>"$1/.lock"
  flock 9
}

unlock() {
  exec 9>&-
}
