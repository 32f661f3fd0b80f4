"""The repository's way in, the changes' way out, and applying them. The user's tree is only ever read, but in `apply`."""
