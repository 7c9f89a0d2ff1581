"""Decisions, one small pure file each: observed facts in, a decision out."""
