"""TerminalSimulator: two simulated machines and a shell on them. Nothing real is ever run, read or written."""
