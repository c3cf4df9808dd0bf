"""What holds for every instrument, surrogate and acquisition: `aemtwin check`."""
