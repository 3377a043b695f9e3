"""The stoppers: what ends a trial early."""
