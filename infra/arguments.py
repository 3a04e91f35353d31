"""What arguments of programs have in common."""

import argparse

_YES, _NO = ("1", "yes", "true"), ("0", "no", "false", "")


def yes_or_no(text: str) -> bool:
    """Who means no must not become an operator, so only what is clear is taken.

    Raises:
        argparse.ArgumentTypeError: it is not.
    """
    if text.lower() not in (*_YES, *_NO):
        message = f"must be 1, yes or true, or else 0, no or false: not {text!r}"
        raise argparse.ArgumentTypeError(message)
    return text.lower() in _YES
