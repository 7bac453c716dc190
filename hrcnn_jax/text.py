"""Text from files and their names, and of errors, fit for a terminal."""


def printable(text: str) -> str:
    """Text in one line, what would act on a terminal being escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def unforeseen(error: Exception) -> str:
    """What to say of an error that nothing about the file explains."""
    if isinstance(error, MemoryError):
        return "is too large for this machine's memory"
    reason = " ".join(str(error).split())
    return f"failed for a reason of our own ({type(error).__name__}: {reason})"
