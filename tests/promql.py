"""What a PromQL expression asks for."""

import promql_parser


def selectors(node) -> list[tuple[str, set[str]]]:
    """(series name, labels matched on) of every selector below a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        return [(node.name, {matcher.name for matcher in node.matchers.matchers})]
    if isinstance(node, promql_parser.MatrixSelector):
        return selectors(node.vector_selector)
    children = []
    for name in ("expr", "lhs", "rhs", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, str | int | float):
            children.append(child)
    children += getattr(node, "args", None) or []
    return [one for child in children for one in selectors(child)]
