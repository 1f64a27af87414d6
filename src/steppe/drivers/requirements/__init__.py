"""What Steppe needs of a machine, and whether it is there: `steppe doctor`."""
