"""Text from files and their names, fit for a terminal."""


def printable(text: str) -> str:
    """Text in one line, what would act on a terminal being escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
