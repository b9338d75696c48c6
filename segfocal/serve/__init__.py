"""A server on this machine: scans, prompts of a person, and masks that answer them.

Start with `session.py`, a scan and what was done to it; `http_app.py` is the door, `sessions.py` holds the sessions.
"""
