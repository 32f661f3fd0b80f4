# Starters for the programs of a base image that are on its own PATH and not on the usual one, first folder first.
set -eu
. /tmp/stages/starters.sh

# A record, and never nothing: after a COPY that changes nothing the classic builder fails at the next one
# (https://github.com/moby/moby/issues/37965).
mkdir -p /out/opt/project
printf '%s\n' "$PATH" >/out/opt/project/base-path

folders=""
old_ifs="$IFS"; IFS=":"
for folder in $PATH; do
    case "$folder" in
        /usr/local/sbin | /usr/local/bin | /usr/sbin | /usr/bin | /sbin | /bin | "") ;;
        *) folders="$folder${folders:+:$folders}" ;; # the last ones first, so that the first ones win
    esac
done
for folder in $folders; do
    starters "$folder"
done
IFS="$old_ifs"
