# Python packages into /opt/project/python, from the requirements files that are named.
set -eu
. /tmp/host/environment
. /tmp/stages/starters.sh
project=/opt/project/python

if ! python3 -m pip --version >/dev/null 2>&1; then
    echo "langchain-sandbox: the python3 of the base image ($(command -v python3)) has no pip to install packages with." >&2
    exit 1
fi
python3 -m venv --system-site-packages --without-pip "$project"

# Where the base image's Python is a virtual environment itself, a second one would not see its packages.
python3 -c 'import sys, sysconfig; sys.prefix != sys.base_prefix and print(sysconfig.get_path("purelib"))' \
    >"$(echo "$project"/lib/python3*/site-packages)/base-image.pth"

cd /tmp/requirements
for file; do
    set -- "$@" -r "$file"
    shift
done
python3 -m pip --python "$project/bin/python" install \
    --no-cache-dir --disable-pip-version-check --no-input --progress-bar off --root-user-action ignore "$@"

cd "$project/bin"
# Where the requirements bring no pytest, the system's sees the project's packages; and if there is none for this
# Python, saying so beats running another Python's.
if [ ! -e pytest ]; then
    printf '#!/bin/sh\nexec %s/bin/python -m pytest "$@"\n' "$project" >pytest
    chmod 0755 pytest
fi
rm -f activate* Activate*
starters "$project/bin"

find "$project" -perm /6000 -exec chmod a-s {} +
mkdir -p /out/opt
mv /opt/project /out/opt/project
