#!/bin/sh
# Puts the project and all it needs into .venv; called by `make setup`. Installs what the machine lacks: on Debian and
# Ubuntu by apt-get (as root, or with sudo), on macOS by Homebrew. Quick when nothing changed since the last time.
#
# With --with-browser also Chromium, for the tests of what people see.
#
# What is taken from where: PostgreSQL with PostGIS and Python from the system's packages; uv, by its hash, into .uv; all
# else by uv, by hashes, into .venv. No file that this writes names a package index: pip's and uv's own settings hold.
set -eu
cd "$(dirname "$0")"

say() { printf '· %s\n' "$*" >&2; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# Everything that decides what .venv holds, and where it is, since the scripts in it name their folder.
stamp() {
  { cat requirements.lock requirements-bootstrap.lock pyproject.toml setup.sh; pwd; } | git hash-object --stdin
}

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

has_browser() {
  command -v chromium >/dev/null 2>&1 && return 0
  for installed in "$HOME"/.cache/ms-playwright/chromium-* "$HOME"/Library/Caches/ms-playwright/chromium-*; do
    [ ! -d "$installed" ] || return 0
  done
  return 1
}

# The driver of playwright is a Node.js that is linked to it.
has_libatomic() { [ "$(uname -s)" != Linux ] || PATH="$PATH:/sbin" ldconfig -p 2>/dev/null | grep -q 'libatomic\.so\.1'; }

browser_wanted=
case "${1-}" in
  "") ;;
  --with-browser) { has_browser && has_libatomic; } || browser_wanted=1 ;;
  *) fail "setup.sh knows --with-browser alone, not $1." ;;
esac

# ---- Nothing changed? -----------------------------------------------------------------------------------------------
wanted=$(stamp)
if [ "$(cat .venv/setup.stamp 2>/dev/null)" = "$wanted" ] && [ -x .venv/bin/maap-stac ] && fits .venv/bin/python &&
  [ -z "$browser_wanted" ]; then
  exit 0
fi

# ---- The system's packages ------------------------------------------------------------------------------------------
system=$(uname -s)
apt() { [ "$system" = Linux ] && command -v apt-get >/dev/null 2>&1; }

# Runs a command as root, or says which one somebody else must run.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    sudo "$@"
  else
    fail "this needs root, and there is no sudo that works here. Have an administrator run:  $*"
  fi
}

updated=
apt_install() {
  say "installing $*"
  if [ -z "$updated" ]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || fail "apt-get update failed; see above."
    updated=1
  fi
  # What packages say while they are set up matters only when they fail.
  log=$(mktemp)
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends "$@" >"$log" 2>&1 ||
    { cat "$log" >&2; rm -f "$log"; fail "apt-get could not install $*; see above."; }
  rm -f "$log"
}

find_python() {
  for candidate in "${PYTHON-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 && fits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
}

python=$(find_python)
if [ -z "$python" ]; then
  if [ "$system" = Darwin ] && command -v brew >/dev/null 2>&1; then
    say "installing Python 3.12 with Homebrew"
    brew install --quiet python@3.12 || fail "Homebrew could not install python@3.12; see above."
    python=$(brew --prefix python@3.12)/bin/python3.12
  elif apt; then
    for version in 3.13 3.12 3.11; do
      if [ -n "$(apt-cache search --names-only "^python$version-venv\$")" ]; then
        apt_install "python$version" "python$version-venv"
        python=$(find_python)
        break
      fi
    done
  fi
  [ -n "$python" ] ||
    fail "Python 3.11, 3.12 or 3.13 is needed, and python3 is $(python3 --version 2>/dev/null || echo missing): install one of them, or name it:  make setup PYTHON=/path/to/python3.12"
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if apt; then
    apt_install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
  else
    fail "$python lacks the modules venv and ensurepip: install them (often a package python3-venv)."
  fi
fi

if apt && [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then
  apt_install ca-certificates
fi

has_postgis() {
  for control in /usr/share/postgresql/*/extension/postgis.control \
    /opt/homebrew/share/postgresql*/extension/postgis.control \
    /usr/local/share/postgresql*/extension/postgis.control \
    /opt/homebrew/opt/postgresql@*/share/postgresql*/extension/postgis.control \
    /usr/local/opt/postgresql@*/share/postgresql*/extension/postgis.control \
    /usr/pgsql-*/share/extension/postgis.control; do
    [ ! -e "$control" ] || return 0
  done
  command -v pg_config >/dev/null 2>&1 && [ -e "$(pg_config --sharedir)/extension/postgis.control" ]
}

# Debian's package makes a cluster of its own and starts it on port 5432. Nobody asked for that one, so it is told not to
# while it is installed; the setting is put back afterwards.
install_postgis_by_apt() {
  major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
  if [ -z "$major" ]; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || fail "apt-get update failed; see above."
    updated=1
    major=$(apt-cache depends postgresql | sed -n 's/^ *Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
  fi
  [ -n "$major" ] || fail "apt-get knows no package postgresql: install PostgreSQL with PostGIS, or set PGHOST."
  if [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
    apt_install "postgresql-$major-postgis-3"
    return
  fi
  [ -e /etc/postgresql-common/createcluster.conf ] || apt_install postgresql-common
  say "PostgreSQL's own cluster on port 5432 is left out: this project runs one of its own"
  settings=/etc/postgresql-common/createcluster.conf
  as_root cp -p "$settings" "$settings.before-maap-stac"
  trap 'as_root mv "$settings.before-maap-stac" "$settings"' EXIT
  as_root sh -c "echo 'create_main_cluster = false' >> '$settings'"
  apt_install "postgresql-$major-postgis-3"
  as_root mv "$settings.before-maap-stac" "$settings"
  trap - EXIT
}

if [ -z "${PGHOST-}${PGHOSTADDR-}${PGSERVICE-}" ] && ! has_postgis; then
  if apt; then
    install_postgis_by_apt
  elif [ "$system" = Darwin ] && command -v brew >/dev/null 2>&1; then
    say "installing PostGIS with Homebrew"
    brew install --quiet postgis || fail "Homebrew could not install postgis; see above."
  else
    fail "PostgreSQL with PostGIS is not installed, and there is neither apt-get nor Homebrew: install it, or set PGHOST to a server that has it."
  fi
fi

# ---- uv, which installs the rest ------------------------------------------------------------------------------------
wanted_uv=$(sed -n 's/^uv==\([^ ;]*\).*/\1/p' requirements-bootstrap.lock)
if [ "$(.uv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$wanted_uv" ]; then
  say "installing uv $wanted_uv"
  rm -rf .uv
  "$python" -m venv .uv || fail "$python could not make a virtual environment in .uv; see above."
  sed -n '/^uv==/,/[^\\]$/p' requirements-bootstrap.lock >.uv/requirements.txt
  .uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    -r .uv/requirements.txt || fail "pip could not install uv; see above."
fi

# ---- The project ----------------------------------------------------------------------------------------------------
if ! { [ -x .venv/bin/python ] && fits .venv/bin/python; }; then
  .uv/bin/uv venv --quiet --clear --no-python-downloads --python "$python" .venv
fi
say "installing the project into .venv"
rm -f .venv/setup.stamp
.uv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock ||
  fail "uv could not install what requirements.lock names; see above."
.uv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --build-constraints requirements-bootstrap.lock -e . ||
  fail "uv could not install the project; see above."
printf '%s\n' "$wanted" >.venv/setup.stamp

# ---- For tests: a browser ------------------------------------------------------------------------------------------
if [ -n "$browser_wanted" ]; then
  # Ubuntu's package chromium is an empty one that asks for a snap.
  if apt && grep -qx 'ID=debian' /etc/os-release; then
    apt_install chromium fonts-dejavu-core libatomic1
  else
    ! apt || has_libatomic || apt_install libatomic1
    say "installing Chromium with playwright"
    .venv/bin/playwright install chromium || fail "playwright could not install Chromium; see above."
    if apt; then
      as_root "$PWD/.venv/bin/playwright" install-deps chromium || fail "what Chromium needs could not be installed."
    fi
  fi
fi
say "ready: .venv/bin/maap-stac --help"
