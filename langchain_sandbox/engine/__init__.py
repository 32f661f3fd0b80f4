"""Make a hardened container and attach to it. `base` is the contract, `docker` fills it."""
