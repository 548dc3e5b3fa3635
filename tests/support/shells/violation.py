"""What a schedule raises."""


class Violation(AssertionError):
    """Something happened that may never happen."""


def must(fact: object, rule: str) -> None:
    if not fact:
        raise Violation(rule)
