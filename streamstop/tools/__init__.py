"""Inspect, convert, send, doctor: work on recordings and on this machine, without learning."""
