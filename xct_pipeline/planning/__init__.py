"""What a run would compute: the scans opened, their passes laid out, what has to be estimated first, and previews."""
