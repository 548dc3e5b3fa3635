"""Our data classes against the standard ones: the same answers, made of less."""

import ast
import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.classes import dataclass

ROOT = Path(__file__).parent.parent.parent
Make = Callable[..., Any]
SMALL = st.integers(0, 3)
SOME = (st.none(), st.booleans(), st.integers(-2, 2), st.floats(-1, 1), st.text("ab", max_size=1))
VALUES = st.one_of(*SOME)


class Plain:
    """Its fields are of every kind that ours have."""

    first: object
    second: object = 3
    unlike: object = dataclasses.field(default=None, compare=False)
    unseen: object = dataclasses.field(default=None, repr=False)
    made: list[int] = dataclasses.field(default_factory=list)


class One:
    value: object


class Nothing:
    pass


def both(plain: type, **words: bool) -> tuple[Any, Any]:
    """A standard class, and ours."""

    def copied() -> type:
        body = {k: v for k, v in vars(plain).items() if k not in ("__dict__", "__weakref__")}
        return type(plain.__name__, (), body)

    make: Make = dataclass  # the type checker takes it for the standard one
    return dataclasses.dataclass(**words)(copied()), make(**words)(copied())


@pytest.mark.parametrize("frozen", [True, False])
@given(st.lists(st.lists(VALUES, min_size=4, max_size=4), min_size=2, max_size=2))
def test_equal_hashed_and_shown_as_the_standard_ones_are(
    frozen: bool, values: list[list[object]]
) -> None:
    standard, ours = both(Plain, frozen=frozen, slots=True)
    theirs, mine = ([make(*one) for one in values] for make in (standard, ours))
    assert repr(mine) == repr(theirs)
    assert (mine[0] == mine[1]) == (theirs[0] == theirs[1])
    assert mine[0] != theirs[0]  # another class
    for one in (mine[0], theirs[0]):
        with pytest.raises(TypeError, match="unhashable"):  # it has a list
            hash(one)
    assert dataclasses.astuple(mine[0]) == dataclasses.astuple(theirs[0])


@pytest.mark.parametrize("plain", [One, Nothing])
@given(values=st.lists(VALUES, min_size=2, max_size=2))
def test_few_fields(plain: type, values: list[object]) -> None:
    standard, ours = both(plain, frozen=True, slots=True)
    count = len(dataclasses.fields(ours))
    theirs, mine = ([make(*([one] * count)) for one in values] for make in (standard, ours))
    assert (mine[0] == mine[1]) == (theirs[0] == theirs[1])
    assert [hash(one) for one in mine] == [hash(one) for one in theirs]
    assert repr(mine[0]) == repr(theirs[0])


def test_a_value_that_is_unlike_itself_is_compared_as_in_a_tuple() -> None:
    standard, ours = both(One, frozen=True)
    nan = float("nan")
    assert standard(nan) == standard(nan)
    assert ours(nan) == ours(nan)


@dataclass(frozen=True, slots=True, order=True)
class Point:
    x: int
    y: int

    def __post_init__(self) -> None:
        if self.x == 13:
            raise ValueError("no 13")


@dataclass(frozen=True, slots=True)
class Named(Point):
    name: str = "p"


@dataclass(slots=True)
class Changing:
    count: int = 0


@dataclass(frozen=True, slots=True)
class Own:
    value: int

    def __repr__(self) -> str:
        return "own"

    def __hash__(self) -> int:
        return 7


@dataclass(slots=True, eq=False)
class Itself:
    other: "Itself | None" = None


@given(st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL))
def test_order_is_that_of_the_fields(a: tuple[int, int], b: tuple[int, int]) -> None:
    one, two = Point(*a), Point(*b)
    assert (one < two, one <= two, one > two, one >= two) == (a < b, a <= b, a > b, a >= b)


def test_order_of_different_classes_is_none() -> None:
    with pytest.raises(TypeError):
        sorted([Point(1, 2), Named(1, 2)])


def test_what_is_done_with_data_classes_is_done_with_these() -> None:
    point = Named(1, 2, "a")
    assert dataclasses.replace(point, x=5) == Named(5, 2, "a")
    assert dataclasses.asdict(point) == {"x": 1, "y": 2, "name": "a"}
    assert copy.copy(point) == copy.deepcopy(point) == point
    assert [field.name for field in dataclasses.fields(Named)] == ["x", "y", "name"]
    assert not hasattr(point, "__dict__")
    assert Named(1, 2) != Point(1, 2)
    match point:
        case Named(x, y, name):
            assert (x, y, name) == (1, 2, "a")
    with pytest.raises(ValueError, match="no 13"):
        Point(13, 0)


def test_what_changes_has_no_hash_and_own_methods_stay() -> None:
    with pytest.raises(TypeError):
        hash(Changing())
    assert (repr(Own(1)), hash(Own(1))) == ("own", 7)
    one = Itself()
    one.other = one
    assert one != Itself()
    assert len({one, Itself()}) == 2
    assert repr(one) == "Itself(other=...)"


FOLDERS = (
    "protocol/fedling_protocol",
    "agent/fedling_agent",
    "broker/fedling_broker",
    "firmware_sim/fedling_sim",
)


@pytest.mark.parametrize("folder", FOLDERS)
def test_there_is_one_way_to_make_a_data_class(folder: str) -> None:
    wrong = [
        path.name
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "classes.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if {"dataclass", "make_dataclass"} & {alias.name for alias in node.names}
    ]
    assert wrong == []
