"""Labels that mark what this package makes on an engine."""

from __future__ import annotations

PREFIX = "io.langchain-sandbox"
OWNER = f"{PREFIX}.owner"
RUN = f"{PREFIX}.run"

# On images. What has this one was built as a sandbox; a repository can pick no other image by its name.
IMAGE = f"{PREFIX}.image"
PACKAGE = f"{PREFIX}.package"  # the npm package that OpenCode came from

# On derived images: what they were made from.
DERIVED_FROM = f"{PREFIX}.derived-from"  # `image_tag()` of the version that made it
DERIVED_BASE = f"{PREFIX}.derived-base"  # `--from`, as it was given
DERIVED_BASE_ID = f"{PREFIX}.derived-base-id"
DERIVED_REQUIREMENTS = f"{PREFIX}.derived-requirements"  # a hash over the files
DERIVED_APT = f"{PREFIX}.derived-apt"
DERIVED_NPM = f"{PREFIX}.derived-npm"

# On a build stage's images, which are removed when the build is over.
STAGE = f"{PREFIX}.stage"
