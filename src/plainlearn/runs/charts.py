"""Small drawings for a report, as SVG in the page itself: curves, bars, a diagram of how sure answers are, a confusion table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite
from typing import Final

from torch import Tensor

__all__ = ["bars", "confusion", "curves", "reliability", "style"]

_WIDE, _HIGH, _LEFT, _BELOW = 560, 240, 46, 34
_BINS: Final = 10

#: The rules that these drawings need in a page.
style: Final = """
svg { max-width: 100%; height: auto; display: block; margin-top: .6rem; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--line); fill: none; } svg .a { stroke: var(--note); fill: none; stroke-width: 2; }
svg .b { stroke: var(--warning); fill: none; stroke-width: 2; } svg .fa { fill: var(--note); } svg .fb { fill: var(--warning); }
svg .bars { fill: var(--bar); } svg .even { stroke: var(--soft); stroke-dasharray: 4 4; }
table.scores td { padding: .2rem .6rem .2rem 0; vertical-align: middle; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar i.own { background: var(--note); }
.confusion { overflow-x: auto; }
.confusion table { width: auto; font-size: .72rem; border-spacing: 1px; border-collapse: separate; }
.confusion th { font-weight: normal; color: var(--soft); max-width: 9rem; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; text-align: right; padding-right: .4rem; }
.confusion thead th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; max-height: 8rem; padding: 0; }
.confusion td { width: 1.5rem; min-width: 1.5rem; height: 1.5rem; padding: 0; text-align: center; background: var(--back); }
.confusion .small { font-size: .62rem; } .confusion .small td { width: 1.05rem; min-width: 1.05rem; height: 1.05rem; }
.confusion td.right { background: color-mix(in srgb, var(--note) calc(var(--n) * 1%), var(--back)); }
.confusion td.wrong { background: color-mix(in srgb, var(--error) calc(var(--n) * 1%), var(--back)); }
"""


def curves(train: Sequence[float], valid: Sequence[float], what: str) -> str:
    """Two curves over the epochs; numbers that are not finite are left out."""
    shown = [value for value in (*train, *valid) if isfinite(value)]
    if not shown:
        return ""
    top = max(shown) * 1.05 or 1.0
    count = max(len(train), len(valid))

    def points(values: Sequence[float]) -> list[tuple[float, float]]:
        step = (_WIDE - _LEFT - 12) / max(count - 1, 1)
        return [
            (_LEFT + place * step, _y(value / top)) for place, value in enumerate(values) if isfinite(value)
        ]

    lines = ""
    for name, values in (("a", train), ("b", valid)):
        found = points(values)
        lines += f'<polyline class="{name}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in found)}"/>'
        lines += "".join(f'<circle class="f{name}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in found)
    ticks = "".join(_tick(share, f"{share * top:.2f}") for share in (0, 0.5, 1))
    legend = (
        f'<text x="{_WIDE - 12}" y="16" text-anchor="end"><tspan class="fa">● training</tspan> '
        f'<tspan class="fb">● validation</tspan> {escape(what)}</text>'
    )
    return _svg(f"{what} of each epoch", f"{_frame()}{ticks}{lines}{legend}{_below('epochs')}")


def reliability(confidence: Tensor, right: Tensor) -> str:
    """How often answers (N,) of each confidence (N,), in tenths, are right; even is the dashed line."""
    wide = (_WIDE - _LEFT - 12) / _BINS
    place = (confidence * _BINS).long().clamp(max=_BINS - 1)
    drawn = ""
    for number in range(_BINS):
        there = place == number
        count = int(there.sum())
        if not count:
            continue
        share = float(right[there].float().mean())
        x, y = _LEFT + number * wide, _y(share)
        drawn += f'<rect class="bars" x="{x + 3:.1f}" y="{y:.1f}" width="{wide - 6:.1f}" height="{_y(0) - y:.1f}" rx="2"/>'
        drawn += f'<text x="{x + wide / 2:.1f}" y="{y - 5:.1f}" text-anchor="middle">{count}</text>'
    even = f'<line class="even" x1="{_LEFT}" y1="{_y(0)}" x2="{_WIDE - 12}" y2="{_y(1):.1f}"/>'
    ticks = "".join(_tick(share, f"{share:.0%}") for share in (0, 0.5, 1))
    return _svg("Share that is right, by how sure the answers are",
                f"{_frame()}{ticks}{drawn}{even}{_below('how sure it says it is, 0 to 100% (numbers: answers)')}")  # fmt: skip


def bars(rows: Sequence[tuple[str, float, str]], own: str) -> str:
    """A table of shares 0..1 with bars: `(name, share, more)`; the row called `own` stands out. Names are HTML."""
    made = "".join(
        f'<tr><td class="class">{name}</td><td class="number">{share:.3f}</td><td class="soft number">{more}</td>'
        f'<td class="bar"><i{" class=own" if name == own else ""} style="width:{100 * share:.1f}%"></i></td></tr>'
        for name, share, more in rows
    )
    return f'<table class="scores">{made}</table>'


def confusion(names: Sequence[str], table: Tensor) -> str:
    """How many items (K, K) of each true class, a row, were given each class, a column. Names are HTML."""
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = ""
    for place, name in enumerate(names):
        most = max(int(table[place].sum()), 1)
        cells = "".join(
            f'<td class="{"right" if other == place else "wrong"}" style="--n:{15 + 85 * count // most}">{count}</td>'
            if count
            else "<td></td>"
            for other, count in enumerate(map(int, table[place]))
        )
        rows += f"<tr><th>{name}</th>{cells}</tr>"
    small = ' class="small"' if len(names) > 24 else ""
    return f'<div class="confusion"><table{small}><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _y(share: float) -> float:
    return _HIGH - _BELOW - share * (_HIGH - _BELOW - 26)


def _frame() -> str:
    return f'<path class="axis" d="M{_LEFT} 20V{_HIGH - _BELOW}H{_WIDE - 6}"/>'


def _tick(share: float, text: str) -> str:
    return f'<text x="{_LEFT - 6}" y="{_y(share) + 4:.1f}" text-anchor="end">{text}</text>'


def _below(text: str) -> str:
    return f'<text x="{(_WIDE + _LEFT) / 2}" y="{_HIGH - 8}" text-anchor="middle">{escape(text)}</text>'


def _svg(label: str, inner: str) -> str:
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" role="img" aria-label="{escape(label)}">{inner}</svg>'
