"""The commands of the simulated shells. Each takes the shell and its words, and gives its output or a ShellError."""
