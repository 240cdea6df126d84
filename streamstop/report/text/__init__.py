"""Sentences and tables of the pages."""
