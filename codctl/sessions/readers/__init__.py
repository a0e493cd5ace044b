"""One file for each form in which sessions are found."""
