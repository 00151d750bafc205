"""Draws counted stacks as a flame graph and as a table. A stack is a line: functions from the outermost in, separated
by semicolons, then a space and its count."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape

from bench.report import draw

WIDTH, LINE, LEAST, CHARACTER = 1400, 17, 0.4, 6.6  # in pixels; boxes narrower than LEAST aren't drawn
# a function's owner by its file's path; the first match counts
COLOURS = (
    ("(bridge/", "#e8875f"),
    ("(bench/", "#b0b0b0"),
    ("(gunicorn/", "#8fb8de"),
    ("(gevent/", "#9ccfa4"),
    ("(geventhttpclient/", "#c3d98b"),
    ("(requests/", "#c3d98b"),
    ("(psycopg/", "#d3a6d9"),
    ("(redis/", "#e3a0b0"),
    ("", "#ecd487"),
)
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" \
font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11">
<style>rect {{ stroke: #fff; stroke-width: 0.5 }} g:hover rect {{ stroke: #000 }} text {{ pointer-events: none }}
</style>
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="6" y="16" font-size="13">{title}</text>
"""


@dataclasses.dataclass
class Node:
    """A function as called from one stack: its count, and the functions that it called."""

    name: str
    count: int = 0
    children: dict[str, "Node"] = dataclasses.field(default_factory=dict)


def parse(lines: Iterable[str]) -> Counter[tuple[str, ...]]:
    """Stacks and their counts."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in lines:
        stack, _, number = line.strip().rpartition(" ")
        if stack:
            stacks[tuple(stack.split(";"))] += int(number)
    return stacks


def grow(stacks: Mapping[tuple[str, ...], int]) -> Node:
    """The tree of all stacks below one root."""
    root = Node("all")
    for stack, number in stacks.items():
        node = root
        node.count += number
        for name in stack:
            node = node.children.setdefault(name, Node(name))
            node.count += number
    return root


def draw_svg(stacks: Mapping[tuple[str, ...], int], title: str) -> str:
    """The graph, complete in itself: callers above, each as wide as its share, the whole name on hover."""
    root = grow(stacks)
    boxes: list[str] = []
    deepest = _draw_node(root, 0.0, 0, WIDTH / max(1, root.count), root.count, boxes)
    height = (deepest + 3) * LINE
    return HEAD.format(width=WIDTH, height=height, title=escape(title)) + "\n".join(boxes) + "\n</svg>\n"


def _draw_node(node: Node, left: float, depth: int, scale: float, total: int, boxes: list[str]) -> int:
    """Adds the boxes of a node and all below it; returns the depth of the lowest."""
    width = node.count * scale
    if width < LEAST:
        return depth
    top = (depth + 1.5) * LINE
    colour = next(colour for place, colour in COLOURS if place in node.name)
    share = f"{node.count / max(1, total):.1%}"
    room = int((width - 6) / CHARACTER)
    label = node.name if len(node.name) <= room else node.name[: room - 1] + "…" if room > 3 else ""
    text = f'<text x="{left + 3:.1f}" y="{top + 12:.1f}">{escape(label)}</text>' if label else ""
    boxes.append(
        f"<g><title>{escape(node.name)}: {share}, {node.count} samples</title>"
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{LINE - 1}" fill="{colour}"/>{text}</g>'
    )
    deepest = depth
    for child in sorted(node.children.values(), key=lambda child: child.name):
        deepest = max(deepest, _draw_node(child, left, depth + 1, scale, total, boxes))
        left += child.count * scale
    return deepest


def draw_top(stacks: Mapping[tuple[str, ...], int], most: int = 30) -> str:
    """The functions with the most time of their own, and with that of their callees."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for stack, number in stacks.items():
        own[stack[-1]] += number
        for name in set(stack):
            whole[name] += number
    total = max(1, sum(own.values()))
    rows = [(f"{number / total:.1%}", f"{whole[name] / total:.1%}", name) for name, number in own.most_common(most)]
    return draw([("own", "whole", "function"), *rows], left=(2,))
