"""What holds for every instrument, to be held against any: `aemtwin check`."""
