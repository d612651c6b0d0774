"""How the scripts in ``plots/`` end."""

from collections.abc import Callable

from rlprune.safely import plain


def ended(script: Callable[[], object]) -> str | None:
    """Run a script; return for ``sys.exit`` one line on what its results lack, or None where it went well."""
    try:
        script()
    except (ValueError, OSError) as error:
        return plain(str(error))
    return None
