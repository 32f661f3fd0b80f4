#!/usr/bin/env bash
# What the arrangement that this project grew out of does when its container starts: make a user with the caller's
# ids, give it its home, become it, run OpenCode. After entrypoint.sh of
# https://github.com/jammsen/docker-coding-agent-sandbox and the headless mode that its issue #5 proposes, in our
# own words. It is a baseline of the benchmarks and no part of the package.
set -euo pipefail

user=opencode
home=/home/$user

fail() {
    echo "entrypoint: $1" >&2
    exit 1
}

[[ $EUID -eq 0 ]] || fail "start the container as root; it becomes $user by itself."
for id in "${PUID:-}" "${PGID:-}"; do
    [[ $id =~ ^[1-9][0-9]*$ ]] || fail "PUID and PGID must be positive numbers, not '$id'."
done
[[ -d $home/workspace ]] || fail "$home/workspace is not mounted."

changed=false
gid=$(getent group $user | cut -d: -f3 || true)
if [[ -z $gid ]]; then
    groupadd --gid "$PGID" $user
    changed=true
elif [[ $gid != "$PGID" ]]; then
    groupmod --gid "$PGID" $user
    changed=true
fi
uid=$(id -u $user 2>/dev/null || true)
if [[ -z $uid ]]; then
    # The folder is there already if anything is mounted into it; useradd would only warn of that.
    useradd --uid "$PUID" --gid $user --home-dir $home --no-create-home --shell /bin/bash $user
    changed=true
elif [[ $uid != "$PUID" ]]; then
    usermod --uid "$PUID" --gid "$PGID" $user >/dev/null
    changed=true
fi
# What is mounted is left alone: the workspace is its owner's already, and a read-only file cannot be given away (the
# original tries to, and ends there, whenever it has to change an id).
[[ $changed = false ]] || find $home -xdev -writable -exec chown $user:$user {} +

# As in the original, so that OpenCode's state would land in the workspace; gosu puts the user's own home back.
export HOME=$home/workspace

[[ -n ${TASK:-} ]] || exec gosu $user:$user opencode
# The proposal also says --quiet. `opencode run --help` of 1.18.33 lists no such option, and it ends with its usage
# when it is given one.
exec gosu $user:$user opencode run "$TASK" --format json
