"""How the cards look that notebooks show."""

from __future__ import annotations

from typing import Final

# Notebooks lay a style of their own on tables, lists and code. So there are only `div`, `span`, `pre` and `details`.
CARD_STYLE: Final = """
.lc-sandbox{font-size:13px;line-height:1.5;max-width:920px;border:1px solid #8885;border-radius:8px;overflow:hidden}
.lc-sandbox>*{padding:7px 14px;border-top:1px solid #8883}
.lc-sandbox>.head{border-top:0;padding:9px 14px;background:#e5534b24}
.lc-sandbox>.head.good{background:#2ea04324}
.lc-sandbox>.head.soft{background:#d2992224}
.lc-sandbox>.head.busy{background:#388bfd24}
.lc-sandbox .status{font-weight:600}
.lc-sandbox .status::before{content:"\\25cf";margin-right:6px;color:#e5534b}
.lc-sandbox .good .status::before{color:#2ea043}
.lc-sandbox .soft .status::before{color:#d29922}
.lc-sandbox .busy .status::before{color:#388bfd}
.lc-sandbox .news{min-height:7.3em;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere}
.lc-sandbox .news .line{padding:0}
.lc-sandbox .label{font-size:11px;opacity:.7;margin-bottom:2px}
.lc-sandbox .faint{opacity:.7}
.lc-sandbox .quote{white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid #8888;padding-left:10px}
.lc-sandbox .row{display:flex;flex-wrap:wrap;gap:0 8px;align-items:baseline;padding:1px 0}
.lc-sandbox .wide{flex:1;min-width:40%;overflow-wrap:anywhere;unicode-bidi:isolate}
.lc-sandbox .mono,.lc-sandbox pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px}
.lc-sandbox .plus{color:#2ea043;color:color-mix(in srgb,#2ea043 70%,currentColor)}
.lc-sandbox .minus{color:#e5534b;color:color-mix(in srgb,#e5534b 70%,currentColor)}
.lc-sandbox .chip{font-size:11px;padding:0 7px;border-radius:9px;background:#8883;overflow-wrap:anywhere}
.lc-sandbox .chip.look{background:#d2992240}
.lc-sandbox .next{margin-top:4px}
.lc-sandbox summary{cursor:pointer;display:list-item}
.lc-sandbox pre{margin:4px 0 0;padding:0;overflow:auto;max-height:480px;line-height:1.45;background:none;color:inherit}
.lc-sandbox .diff{display:block;width:max-content;min-width:100%}
.lc-sandbox .line{display:block;padding:0 6px;unicode-bidi:isolate}
.lc-sandbox .add{background:#2ea04333}
.lc-sandbox .del{background:#e5534b33}
.lc-sandbox .hunk{background:#388bfd26}
.lc-sandbox .file{font-weight:600}
.lc-sandbox .foot{font-size:11px}
""".replace("\n", "")
