"""One file for each place where an agent program keeps what it remembers."""
