"""The terminal view: a run's events, predictions and health, and keys to teach it."""

from streamstop.live.terminal.app import TerminalView as TerminalView
