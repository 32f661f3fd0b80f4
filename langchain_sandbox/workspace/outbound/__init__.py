"""The changes' way out: received and checked, told as a patch and as commits, and looked at for risks."""
