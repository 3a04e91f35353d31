"""Keys of admission tokens, kept out of what is told: Lambda shows settings that it refuses."""

from typing import Any

NAME = "ADMISSION_KEYS"


def without(keys: str, text: str) -> str:
    """`text` with stars in place of each key."""
    for entry in keys.split(","):
        if secret := entry.strip().partition(":")[2]:
            text = text.replace(secret, "***")
    return text


def hide(emitter: Any, keys: str) -> None:
    """Take `keys` out of Lambda's errors before anybody has them: later they are cut and wrapped.

    emitter: a session's or a client's events.
    """

    def forget(parsed: dict[str, Any], **_: Any) -> None:
        if "Error" in parsed:
            parsed["Error"]["Message"] = without(keys, parsed["Error"].get("Message", ""))

    emitter.register("after-call.lambda", forget)
