#!/usr/bin/env bash
# The part of scripts/fresh_machine that runs in its own namespaces, whose mounts and processes end
# with it: installs Debian, configures network and pip in it, and runs README's two commands.
set -euo pipefail
root=$1 machine=$2 port=$3 source_copy=$4
home="$machine/home/user"
trap 'exit 130' INT TERM

say() {
  echo "fresh_machine: $*"
}

fail() {
  say "$*" >&2
  exit 1
}

# The release and mirror of this machine, or bookworm from Debian's mirror on another distribution.
suite=$(. /etc/os-release && [[ $ID == debian ]] && echo "$VERSION_CODENAME") || suite=bookworm
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" 'Identifier: Packages' \
  2>/dev/null | head -n 1 || true)
packages=$(grep -o 'apt install [^`]*' "$root/README.md" | head -n 1 | cut -d' ' -f3-)
[[ -n $packages ]] || fail "README.md has no \`apt install ...\` with the packages to install"

say "Debian $suite with $packages, and curl for the question"
SECONDS=0
include=$(tr ' ' ',' <<<"$packages"),curl
debootstrap --variant=minbase --include="$include" "$suite" "$machine" ${mirror:+"$mirror"} \
  >"$machine/debootstrap.log" 2>&1 ||
  { tail -n 20 "$machine/debootstrap.log" >&2; fail "debootstrap failed; its last lines are above"; }
say "debootstrap took $SECONDS s"

chroot "$machine" useradd --create-home --shell /bin/bash user
git clone --quiet --no-hardlinks "$root" "$home/llamabind"
git -C "$home/llamabind" checkout --quiet --detach "$(git -C "$root" rev-parse HEAD)"
if [[ -n $source_copy ]]; then
  source_folder=$("${PYTHON:-python3}" "$root/scripts/llama_source.py")
  mkdir -p "$home/.cache/llamabind"
  cp -a "$source_folder" "$home/.cache/llamabind/"
fi
# The environment variables with which programs reach the network on this machine.
settings=()
while IFS= read -r name; do
  settings+=("$name=${!name}")
done < <(compgen -e | grep -E '^(PIP_|(HTTPS?|NO|ALL)_PROXY$|SSL_CERT_|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$)' -i)

# Copies a file, or mounts a folder read-only, from this machine to the same path in the new Debian.
bring() {
  local path=$1
  [[ -e $path && $path != / ]] || return 0
  if [[ -f $path ]]; then
    [[ -e $machine$path ]] || install -D -m 644 "$path" "$machine$path"
  elif ! mountpoint -q "$machine$path"; then
    mkdir -p "$machine$path"
    mount --bind "$path" "$machine$path"
    mount -o remount,bind,ro "$machine$path"
  fi
}

# Brings every path in a text. A package index in a folder refers to files next to it (../files), so
# its parent folder is brought too, unless the parent is directly below /.
bring_paths_of() {
  local word path
  while IFS= read -r word; do
    path=${word#file://}
    [[ $word == file://* && -d $path && $(dirname "$(dirname "$path")") != / ]] && path=$(dirname "$path")
    bring "$path"
  done < <(grep -oE '(file://)?/[^[:space:],"'"'"']+' <<<"$1" || true)
}

mkdir -p "$machine/proc" "$machine/sys" "$machine/dev"
mount -t proc proc "$machine/proc"
mount --rbind /sys "$machine/sys"
mount --rbind /dev "$machine/dev"
for file in /etc/resolv.conf /etc/hosts; do
  rm -f "$machine$file" # may be a link
  [[ -e $file ]] && cp "$file" "$machine$file"
done

# pip's system-wide files keep their paths; this user's pip.conf is copied to the new user's home.
for path in /etc/pip.conf /etc/xdg/pip; do
  [[ ! -e $path ]] || { mkdir -p "$machine${path%/*}" && cp -a "$path" "$machine${path%/*}/"; }
done
own=${PIP_CONFIG_FILE:-${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf}
[[ -f $own ]] || own="$HOME/.pip/pip.conf"
if [[ -f $own ]]; then
  install -D -m 644 "$own" "$home/.config/pip/pip.conf"
fi
for file in /etc/pip.conf /etc/xdg/pip/pip.conf "$own"; do
  [[ ! -f $file ]] || bring_paths_of "$(cat "$file")"
done
bring_paths_of "$(printf '%s\n' "${settings[@]}")"
settings=("${settings[@]/#PIP_CONFIG_FILE=*/PIP_CONFIG_FILE=/home/user/.config/pip/pip.conf}")
chroot "$machine" chown -R user:user /home/user

as_user=(chroot --userspec=user:user --groups= "$machine" /usr/bin/env -i --chdir=/home/user/llamabind
  HOME=/home/user USER=user LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin "${settings[@]}")

# README's first curl command, unchanged but for the port.
question=$(sed -n '/^## First answers/,/^```$/p' "$root/README.md" | sed -n '/^\$ curl/,/^```$/p' |
  sed -e 's/^\$ //' -e '/^```$/d' -e "s/:8080/:$port/" -e 's/^curl /curl --silent --show-error --fail-with-body /')
[[ -n $question ]] || fail "README.md has no curl command below '## First answers'"

SECONDS=0
say "./scripts/serve, as an ordinary user"
"${as_user[@]}" ./scripts/serve --port "$port" &
server=$!
until answer=$("${as_user[@]}" bash -c "$question" 2>/dev/null); do
  kill -0 $server 2>/dev/null || fail "./scripts/serve ended before it answered"
  sleep 2
done
say "README's first curl was answered after $SECONDS s:"
echo "$answer"
grep -q 'The capital of France is Paris' <<<"$answer" || fail "the answer is not 'The capital of France is Paris'"
kill -TERM $server
wait $server || fail "the server ended with status $? after SIGTERM"

SECONDS=0
say "./scripts/test tests/unit"
"${as_user[@]}" ./scripts/test tests/unit || fail "./scripts/test tests/unit failed after $SECONDS s"
say "./scripts/test tests/unit passed after $SECONDS s"
