"""Crash points, corruption, and a model: the site is wholly old or wholly new, whatever dies."""
