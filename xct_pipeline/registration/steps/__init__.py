"""The steps of the registration: what reads volumes, finds motions and writes the registered series."""
