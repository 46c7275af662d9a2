"""The steps of the variation of mass: what reads the registered series and writes maps and tables."""
