"""What every command needs of the machine: signals, files, child processes, standard output."""
