"""What a schedule raises."""


class Violation(BaseException):
    """Something happened that may never happen; no boundary of a service may hold it up."""


def must(fact: object, rule: str) -> None:
    if not fact:
        raise Violation(rule)
