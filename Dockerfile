# The image that every run starts a container from: Debian, git, Python, ripgrep, the OpenCode binary and our own
# supervisor, which is PID 1. It holds no secret, no account and no configuration; the host sends all of that
# over the container's stdin, and picks the uid (so there is no USER line).
#
# Build it with `langchain-sandbox build`, or `make image` in a checkout. A plain
# `docker build .` does not work: langchain_sandbox/engine/images/package_image.py puts the build context together, that is
# agent/ (what runs inside), native/ (a library and a shell for OpenCode) and ca/ (the host's CA bundle, for networks that re-sign
# HTTPS; or an empty file).
#
# Steps stand in the order of how seldom they change; a change of our own program re-runs the last two only.

ARG BASE=debian:bookworm-slim
ARG OPENCODE_VERSION=1.18.33
ARG OPENCODE_PACKAGE=opencode-linux-x64


FROM ${BASE} AS opencode

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev npm

ARG OPENCODE_VERSION
ARG OPENCODE_PACKAGE
ARG NPM_CONFIG_REGISTRY
COPY ca/ /tmp/ca/

# The package is the bare binary. Install scripts stay off: they are somebody else's code, and this one needs none.
# The CA bundle is used by this step alone and never reaches the final stage. A binary that cannot run on this
# CPU, or is not the version that was asked for, ends the build here.
RUN if [ -s /tmp/ca/host-ca.crt ]; then export NODE_EXTRA_CA_CERTS=/tmp/ca/host-ca.crt; fi \
 && npm install -g --ignore-scripts "${OPENCODE_PACKAGE}@${OPENCODE_VERSION}" \
 && cp "$(npm root -g)/${OPENCODE_PACKAGE}/bin/opencode" /opencode \
 && chmod 0755 /opencode \
 && found="$(/opencode --version)" \
 && if [ "$found" != "${OPENCODE_VERSION}" ]; then \
      echo "The OpenCode binary says it is '$found', not '${OPENCODE_VERSION}'." >&2; exit 1; \
    fi

# What keeps OpenCode from collecting garbage all the time, and from being killed for a tool's memory; gc_timer.c and
# bash say why and how.
COPY native/ /tmp/native/
RUN mkdir /native \
 && gcc -O2 -Wall -Werror -shared -fPIC -nostartfiles -o /native/gc_timer.so /tmp/native/gc_timer.c \
 && cp /tmp/native/bash /native/ \
 && chmod 0755 /native/bash


FROM ${BASE}

# No set-uid or set-gid bit stays: nothing inside may become another user, whatever the engine allows.
# `apt-get clean` matters on a base made by debootstrap, which keeps every .deb (100 MB here).
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      bash ca-certificates git gosu python3 python-is-python3 python3-httpx python3-jsonschema python3-pytest python3-yaml \
      ripgrep \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* \
 && find / -xdev -perm /6000 -exec chmod a-s {} +

COPY --from=opencode /opencode /usr/local/bin/opencode
COPY --from=opencode /native/ /usr/local/lib/opencode/

ARG OPENCODE_VERSION
ENV OPENCODE_VERSION=${OPENCODE_VERSION}
ARG VERSION=unknown
LABEL io.langchain-sandbox.image="1" \
      io.langchain-sandbox.opencode="${OPENCODE_VERSION}" \
      io.langchain-sandbox.version="${VERSION}"

# Where the compose files mount the socket of the gateway, which is not root and may be another user each time: a new
# volume takes its mode from here.
RUN mkdir -m 0777 /run/llm

WORKDIR /
# For the compose files, and for whoever starts the image by hand. The library starts the program itself, see
# langchain_sandbox/engine/docker.py.
ENTRYPOINT ["/bin/bash", "/opt/langchain-sandbox/entrypoint.sh"]

COPY agent/ /opt/langchain-sandbox/
# The run's uid cannot write here, so what is not compiled now is compiled again at every start. Unchecked hashes
# instead of modification times: layers that went through another builder or a registry may change the latter.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/langchain-sandbox
