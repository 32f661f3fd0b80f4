#!/bin/bash
# What a container that compose starts does as root, before it becomes PUID:PGID for good: find out who that is, give
# the workspace to them, and bring in the files of the project that OpenCode may see.
#
# It has the four capabilities of the compose file and no others. /host is a file system of its own. Before anything of
# OpenCode's runs, it is closed to everyone but root: to PID 1 the workspace stays open, as its working folder, and so
# does the connection to the gateway. In the mode `direct` only the way to the gateway is closed.
set -euo pipefail
umask 022
trap 'exit 130' INT TERM # PID 1 has no default for them

workspace=/host/workspace
project=/host/private/project
home=/run/home
program=(/usr/bin/python3 -I -S /opt/langchain-sandbox)

die() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

case ${1-} in
"") ;;
gateway) exec /usr/bin/python3 -I /opt/langchain-sandbox gateway ;;
*) die "'$1' is not understood. Give the task as TASK or TASK_FILE." ;;
esac

[ "$(id -u)" = 0 ] || die "This must begin as root, to become PUID:PGID itself. Take 'user:' out of the compose file."
if [ ! -d "$workspace" ] || [ ! -d /host/gateway/llm ]; then
    die "There is no $workspace here. Start this image by compose.headless.yml or compose.yml, which mount it."
fi

if [ -n "${TASK-}${TASK_FILE-}" ]; then
    part=headless default_mode=copy
else
    part=interactive default_mode=direct
fi

# An older runc gives these the mode of the folder below where that is there already, as at a container's second start
# (docker compose up).
chmod 1777 /run/ws /run/own "$home" /tmp

# --- who ------------------------------------------------------------------------------------------------------------

# Without PUID the files stay whose they are. A folder that Docker made is root's: it goes to whoever has the compose
# file's folder, and where that is root, to the usual first user.
puid=1000 pgid=1000
for folder in "$project" "$workspace"; do
    owner=$(stat -c %u "$folder")
    if [ "$owner" != 0 ]; then puid=$owner pgid=$(stat -c %g "$folder"); fi
done
if [ "$pgid" = 0 ]; then pgid=$puid; fi
puid=${PUID:-$puid}
pgid=${PGID:-$pgid}
for number in "$puid" "$pgid"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] ||
        die "PUID=$puid PGID=$pgid: both must be positive numbers. The agent never runs as root;" \
            "as root on the host, leave PUID out or name an ordinary user."
done
who=$puid:$pgid

# In a user namespace (a rootless engine, userns-remap) whatever is given away here is given to a stranger on the host.
read -r _ outside _ </proc/self/uid_map
if [ "$outside" != 0 ]; then
    die "Root in here is uid $outside outside: under a rootless engine the workspace cannot be given to an ordinary" \
        "user and stay yours. Use an engine that runs as root, or the library (langchain-sandbox run)."
fi

# --- the workspace --------------------------------------------------------------------------------------------------

# A .git that is mounted read-only stays as it is. Of links the link itself is given, never what it leads to.
keep=()
if [ -e "$workspace/.git" ] && [ ! -w "$workspace/.git" ]; then keep=(-path "$workspace/.git" -prune -o); fi
# What comes and goes meanwhile is no matter, and where nothing can be given away (another machine's file system, a
# read-only one) it may be readable all the same; what is not is said by name later.
find "$workspace" -xdev -ignore_readdir_race "${keep[@]}" ! -uid "$puid" -exec chown -h "$who" {} + 2>/dev/null ||
    printf 'warning: not everything in the workspace could be given to %s.\n' "$who" >&2

# Git wants to walk the path to the folder that it reads, so it has to be open for a while. `private` never is.
chmod 700 /host/private
chmod 711 /host
case $part:${WORKSPACE_MODE:=$default_mode} in
headless:copy) closed=/host ;;
*:direct)
    closed=/host/gateway
    export SANDBOX_REPOSITORY=$workspace # worked in where it lies
    ;;
interactive:copy) die "WORKSPACE_MODE=copy is for tasks; at a terminal the agent works in the folder itself." ;;
*) die "WORKSPACE_MODE is copy or direct, not '$WORKSPACE_MODE'." ;;
esac
# The last of root: it waits until PID 1 has what it needs, closes the folder and ends.
exec {gate}> >(read -r && chmod 700 "$closed")
export SANDBOX_GATE=$gate

# --- the project's files, as the seed mounts them; whatever is not there is not needed ----------------------------------

config=$home/.config/opencode
mkdir -p "$config"
# A .git that is mounted read-only may be somebody else's; everything in here is in the same hands anyway.
printf '[safe]\n\tdirectory = *\n' >"$home/.gitconfig"

first() { # print the first of these paths below the project that exists
    local name
    for name in "$@"; do
        if [ -e "$project/$name" ]; then
            printf '%s\n' "$project/$name"
            return
        fi
    done
}

file=$(first config/opencode.json config/opencode/opencode.json opencode.json)
if [ -n "$file" ]; then "${program[@]}" adapt-config <"$file" >"$config/opencode.json" || exit 2; fi
file=$(first config/AGENTS.md config/opencode/AGENTS.md)
if [ -n "$file" ]; then cp -L "$file" "$config/AGENTS.md" || die "$file cannot be copied."; fi
for kind in commands skills; do
    folder=$(first ".opencode/$kind" "config/opencode/$kind")
    if [ -n "$folder" ]; then cp -rL "$folder" "$config/$kind" || die "$folder has links that lead nowhere."; fi
done
if [ -d /run/data ]; then # OPENCODE_DATA
    mkdir -p "$home/.local/share"
    ln -s /run/data "$home/.local/share/opencode"
    chown "$who" /run/data
fi
if [ -n "${TASK_FILE-}" ]; then
    [ -f "$project/$TASK_FILE" ] || die "TASK_FILE=$TASK_FILE: there is no such file below the compose file's folder."
    cp -L "$project/$TASK_FILE" "$home/task"
fi
chown -R "$who" "$home"

# --- and off --------------------------------------------------------------------------------------------------------

cd "$workspace"
export HOME=$home TMPDIR=/run/own WORKSPACE_MODE
exec gosu "$who" env HOME="$home" "${program[@]}" "$part"
