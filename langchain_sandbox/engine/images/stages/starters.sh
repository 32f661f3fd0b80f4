# Sourced by the other scripts. `starters FOLDER` makes a starter for every program in FOLDER, below /out.
#
# Tools in the sandbox have the usual PATH and none of the image's ENV; /usr/local/sbin is first on it and empty on
# Debian. Starters and not links: a virtual environment's Python that is called by a link does not know where it is.

starters() {
    mkdir -p /out/usr/local/sbin
    for file in "$1"/*; do
        if [ -f "$file" ] && [ -x "$file" ]; then
            starter="/out/usr/local/sbin/${file##*/}"
            printf '#!/bin/sh\nexec "%s" "$@"\n' "$file" >"$starter"
            chmod 0755 "$starter"
        fi
    done
}
