"""Changes of one meaning each in a Python source: what a test of that line must tell.

A comparison is turned or its bound moved, a condition negated, `and` made `or`, `+` made `-`, a
number moved by one, a truth turned, a returned value made None, a call or an assignment to an
attribute left out, two arguments exchanged. Nothing is changed in docstrings, annotations,
decorators, imports and the text of f-strings.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.GtE, ast.LtE),
    ast.LtE: (ast.Gt, ast.Lt),
    ast.Gt: (ast.LtE, ast.GtE),
    ast.GtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


Place = ast.expr | ast.stmt


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of a source."""

    line: int
    what: str
    before: str
    after: str
    source: str  # whole, changed
    touched: range | None  # lines of its statement; None: it runs when the module is imported


def mutations(source: str) -> list[Mutation]:
    """All changes of a source, in the order of its lines."""
    found = [
        Mutation(node.lineno, what, *_replaced(source, node, new), touched)
        for node, new, what, touched in _Walk(ast.parse(source)).found
    ]
    return sorted(found, key=lambda mutation: mutation.line)


def _replaced(source: str, node: Place, new: str) -> tuple[str, str, str]:
    """What stood at the node, what stands there now, the whole source."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    whole = source.encode()
    changed = whole[:start] + new.encode() + whole[end:]
    return whole[start:end].decode(), new, changed.decode()


class _Walk:
    """Finds each node to change, with the text in its place."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[Place, str, str, range | None]] = []
        self._touched: range | None = None
        self._body(tree.body, False)

    def _body(self, body: list[ast.stmt], called: bool, first: bool = False) -> None:
        for statement in body:
            self._statement(statement, called, first)

    def _statement(self, node: ast.stmt, called: bool, first: bool) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = isinstance(node, ast.FunctionDef)
            self._touched = None
            if isinstance(node, ast.FunctionDef):
                for default in (*node.args.defaults, *node.args.kw_defaults):
                    self._expression(default)
            self._body(node.body, function, function and node.name == "__init__")
            return
        blocks = [b for name in ("body", "orelse", "finalbody") if (b := getattr(node, name, None))]
        last = blocks[0][0].lineno - 1 if blocks else node.end_lineno or node.lineno
        mine = range(node.lineno, max(last, node.lineno) + 1) if called else None
        self._touched = mine
        self._changed_statement(node, first)
        for field, value in ast.iter_fields(node):
            if field in {"body", "orelse", "finalbody", "handlers", "annotation", "type_comment"}:
                continue
            self._touched = mine
            for part in value if isinstance(value, list) else [value]:
                self._expression(part)
        for block in blocks:
            self._body(block, called, first)
        for handler in getattr(node, "handlers", []):
            self._body(handler.body, called, first)
        for case in getattr(node, "cases", []):
            self._body(case.body, called, first)

    def _changed_statement(self, node: ast.stmt, first: bool) -> None:
        match node:
            case ast.Expr(ast.Call() as call) if not ast.unparse(call).startswith("super()"):
                self._add(node, "pass", "a call left out")
            case ast.Assign([ast.Attribute()], _) if not first:
                self._add(node, "pass", "an assignment left out")
            case ast.AugAssign(_, ast.Add() | ast.Sub() as operator, _):
                other = copy.copy(node)
                other.op = ast.Sub() if isinstance(operator, ast.Add) else ast.Add()
                self._add(node, ast.unparse(other), "+ and -")
            case ast.Return(ast.expr() as value) if not (
                isinstance(value, ast.Constant) and not value.value
            ):
                self._add(node, "return None", "returns None")
            case ast.If(test) | ast.While(test) | ast.Assert(test):
                if not isinstance(test, ast.Constant):
                    self._negate(test)

    def _negate(self, test: ast.expr) -> None:
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self._add(test, f"({ast.unparse(test.operand)})", "a condition negated")
        elif not isinstance(test, ast.Compare) or len(test.ops) > 1:
            self._add(test, f"(not ({ast.unparse(test)}))", "a condition negated")

    def _expression(self, node: object) -> None:
        """What is in an expression, and below it."""
        if not isinstance(node, ast.AST) or isinstance(node, ast.JoinedStr | ast.pattern):
            return
        if isinstance(node, ast.expr):
            for new, what in _changed(node):
                self._add(node, new, what)
        if isinstance(node, ast.IfExp):
            self._negate(node.test)
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                self._negate(test)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.stmt):
                self._expression(child)

    def _add(self, node: Place, new: str, what: str) -> None:
        self.found.append((node, new, what, self._touched))


def _changed(node: ast.expr) -> Iterator[tuple[str, str]]:
    """Texts to stand in the place of an expression, and what each changes."""
    match node:
        case ast.Compare(left, [operator], [right]):
            for turned in TURNED[type(operator)]:
                new = ast.Compare(left, [turned()], [right])
                yield f"({ast.unparse(new)})", "a comparison turned"
        case ast.BoolOp(operator, values):
            other = ast.And() if isinstance(operator, ast.Or) else ast.Or()
            yield f"({ast.unparse(ast.BoolOp(other, values))})", "`and` and `or`"
        case ast.BinOp(left, ast.Add() | ast.Sub() as operator, right):
            sign = ast.Sub() if isinstance(operator, ast.Add) else ast.Add()
            if not isinstance(left, ast.Constant | ast.JoinedStr) or _number(left):
                yield f"({ast.unparse(ast.BinOp(left, sign, right))})", "+ and -"
        case ast.Constant(bool() as value):
            yield str(not value), "a truth turned"
        case ast.Constant(int() | float() as value):
            yield repr(value + 1), "a number moved"
            yield f"({value - 1!r})", "a number moved"
        case ast.Call(_, [ast.expr() as one, ast.expr() as two, *rest], _):
            if ast.Starred not in {type(one), type(two)} and ast.dump(one) != ast.dump(two):
                swapped = ast.Call(node.func, [two, one, *rest], node.keywords)
                yield ast.unparse(swapped), "arguments exchanged"


def _number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)
