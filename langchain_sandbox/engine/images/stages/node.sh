# npm packages into /opt/project/node, those that are named.
set -eu
. /tmp/host/environment
. /tmp/stages/starters.sh
project=/opt/project/node

npm install --global --prefix "$project" --no-audit --no-fund --no-update-notifier "$@"
starters "$project/bin"

find "$project" -perm /6000 -exec chmod a-s {} +
mkdir -p /out/opt
# Node looks for packages in /node_modules last of all: like this a project's own files can import them too.
ln -s "$project/lib/node_modules" /out/node_modules
mv /opt/project /out/opt/project
