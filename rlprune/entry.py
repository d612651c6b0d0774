"""The command ``rlprune``: Ctrl-C ends it quietly from its first import on."""

from rlprune import door


def main() -> int:
    """Run the command; return its exit code."""
    door.leave_at_once()
    from rlprune.__main__ import main

    return main()
