"""The machine that chapters run on; only the standard library is imported at first."""
