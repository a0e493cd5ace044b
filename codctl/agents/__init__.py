"""Agent programs that people run, as policies: model proxy, world as a tool server, one runner for each program."""
