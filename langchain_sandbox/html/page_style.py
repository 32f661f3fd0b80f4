"""How the report page looks: on a screen, on a phone, in the dark and on paper."""

from __future__ import annotations

from typing import Final

_LIGHT: Final = """
--page:#fff;--soft:#f6f7f9;--line:#d8dce2;--text:#1d2127;--faint:#5b6470;--link:#0b62c4;
--good:#18794e;--good-bg:#e9f6ee;--bad:#c22b34;--bad-bg:#fdeeee;--soft-bg:#fdf5e0;--warn:#8a5a00;
--add:#e3f5e8;--del:#fdeaea;--hunk:#eaf2fc;
--prepare:#9aa3af;--start:#7c8794;--boot:#5e7fb1;--ask:#8fa8cf;--work:#2f6fc9;--finish:#9aa3af;
--step:#2f6fc9;--tool:#2a9168;--call:#7d5bc4;--in:#b5a2e0;--out:#5f3fae;--open:#d9a53f;
"""

_DARK: Final = """
--page:#0f1216;--soft:#171b21;--line:#30363f;--text:#e4e8ee;--faint:#98a2b0;--link:#6cb0ff;
--good:#4cc38a;--good-bg:#11271d;--bad:#ff7b80;--bad-bg:#2d1618;--soft-bg:#292110;--warn:#e3b341;
--add:#12301f;--del:#3a191c;--hunk:#16253a;
--prepare:#5f6975;--start:#76818e;--boot:#5b7db0;--ask:#44608c;--work:#4c8fe8;--finish:#5f6975;
--step:#4c8fe8;--tool:#3fae7f;--call:#9a7be0;--in:#5a4a8a;--out:#b79cff;--open:#b98a2a;
"""

_RULES: Final = """
*{box-sizing:border-box}
html{font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--page);color:var(--text)}
code,pre,.lines,.files,.use,.receipt dd,.paths,.file>summary{font-size:13px;
font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.inner,main,nav,footer{max-width:1040px;margin:0 auto;padding:0 24px}
h1,h2,h3,p,dl,dd,ol,ul,blockquote{margin:0;padding:0}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.wide,.text,.said,.asked,.message,.hint,dd,td,li,pre,code{overflow-wrap:anywhere;unicode-bidi:isolate}
.faint,.about,.empty{color:var(--faint)}
.plus,.ok{color:var(--good)}
.minus{color:var(--bad)}
.look{color:var(--warn)}

header{border-bottom:1px solid var(--line);border-top:5px solid var(--bad);background:var(--bad-bg);padding:26px 0 20px}
header.good{border-top-color:var(--good);background:var(--good-bg)}
header.soft{border-top-color:var(--warn);background:var(--soft-bg)}
header .title{display:flex;align-items:center;gap:14px}
header h1{font-size:32px;line-height:1.2;font-weight:650;letter-spacing:-.01em}
.mark{width:38px;height:38px;flex:none;fill:var(--bad);stroke:none}
.good .mark{fill:var(--good)}
.soft .mark{fill:var(--warn)}
.mark path{fill:none;stroke:var(--page);stroke-width:2.2;stroke-linecap:round;stroke-linejoin:round}
header .message{font-size:18px;margin-top:10px}
header .hint{margin-top:10px;padding:9px 14px;border:1px solid var(--line);border-radius:8px;background:var(--page)}
.facts{display:flex;flex-wrap:wrap;gap:2px 22px;margin-top:14px;font-size:13px}

nav{display:flex;flex-wrap:wrap;gap:4px 18px;padding-top:12px;padding-bottom:12px;font-size:14px}
main{padding-bottom:20px}
section{margin-top:34px;scroll-margin-top:14px}
h2{font-size:19px;font-weight:650;padding-bottom:7px;margin-bottom:13px;border-bottom:1px solid var(--line)}
h3{font-size:15px;font-weight:650;margin:18px 0 6px}
footer{overflow-wrap:anywhere;color:var(--faint);font-size:13px;padding-top:16px;padding-bottom:34px}
.about{font-size:14px;margin-bottom:10px}
.empty{padding:4px 0}

.figures{display:grid;grid-template-columns:repeat(6,1fr);border:1px solid var(--line);
border-radius:10px;overflow:hidden;background:var(--line);gap:1px}
.figures>div{padding:12px 14px;background:var(--page)}
.figures dt{font-size:12.5px;color:var(--faint)}
.figures .value{font-size:22px;font-weight:620;line-height:1.3;font-variant-numeric:tabular-nums}
.figures .about{font-size:12.5px;margin:0}

blockquote{white-space:pre-wrap;border-left:3px solid var(--line);padding:2px 0 2px 14px}
.asked{font-size:16px;border-left-color:var(--link)}
.said{border-left-color:var(--warn)}
.notes{list-style:none}
.notes>li{padding:7px 12px;border-left:3px solid var(--warn);background:var(--soft-bg);margin-bottom:6px;
border-radius:0 6px 6px 0}

.chart{border:1px solid var(--line);border-radius:10px;padding:10px 14px 12px;background:var(--soft)}
.lane{display:grid;grid-template-columns:104px minmax(0,1fr);align-items:center;column-gap:10px}
.lane svg{display:block;overflow:visible}
.lane .name{font-size:13px;color:var(--faint);display:flex;flex-direction:column;line-height:1.3;overflow-wrap:anywhere}
.lane .name .about{font-size:11.5px;margin:0}
.axis text{font-size:11.5px;fill:var(--faint);font-variant-numeric:tabular-nums}
.lane line{stroke:var(--line);stroke-width:1}
.prepare{fill:var(--prepare)}.start{fill:var(--start)}.boot{fill:var(--boot)}.ask{fill:var(--ask)}
.work{fill:var(--work)}.finish{fill:var(--finish)}
rect.step{fill:var(--step)}
rect.tool{fill:var(--tool)}
rect.call{fill:var(--call)}
rect.bad{fill:var(--bad)}
rect.open{fill:var(--open)}
rect.in{fill:var(--in)}
rect.out{fill:var(--out)}
rect.wait{fill:var(--soft);fill-opacity:.62}
rect:hover{opacity:.75}
.legend{display:flex;flex-wrap:wrap;gap:3px 20px;margin-top:10px;font-size:13px}
.legend>div{display:flex;gap:7px}
.key{font-size:12.5px;color:var(--faint);margin-top:6px}
.legend dt{color:var(--faint)}
.dot{display:inline-block;width:9px;height:9px;border-radius:3px;margin-right:6px;background:var(--prepare);print-color-adjust:exact}
.dot.start{background:var(--start)}.dot.boot{background:var(--boot)}.dot.ask{background:var(--ask)}
.dot.work{background:var(--work)}

table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;vertical-align:top;padding:6px 12px 6px 0;border-bottom:1px solid var(--line)}
thead th{font-size:12.5px;font-weight:500;color:var(--faint)}
tbody th{font-weight:500;overflow-wrap:anywhere}
.files{margin-bottom:6px}
.files td{padding-top:3px;padding-bottom:3px}
.files thead{font-family:system-ui,sans-serif}
.files .count{text-align:right;white-space:nowrap;padding-right:0}
.files th:last-child{text-align:right;padding-right:0}
.kind{color:var(--faint)}
.chip{display:inline-block;font-size:12px;line-height:1.5;padding:0 8px;border-radius:10px;border:1px solid var(--line);
font-family:system-ui,sans-serif;overflow-wrap:anywhere}
.chip.look{background:var(--soft-bg);border-color:var(--warn)}
.commit{display:flex;flex-wrap:wrap;gap:0 10px;align-items:baseline;padding:3px 0;overflow-wrap:anywhere}
.commit .wide{flex:1;min-width:40%}

details{margin-top:10px}
summary{cursor:pointer;padding:4px 0;overflow-wrap:anywhere}
.file{border:1px solid var(--line);border-radius:8px;overflow:hidden}
.file>summary{background:var(--soft);padding:8px 12px;display:flex;flex-wrap:wrap;gap:2px 8px;align-items:baseline}
.file>summary::-webkit-details-marker{display:none}
.file>summary::before{content:"\\25b8";color:var(--faint)}
.file[open]>summary::before{content:"\\25be"}
.file[open]>summary{border-bottom:1px solid var(--line)}
.file>summary .wide{flex:1;min-width:50%;font-weight:600}
.file>div{scroll-margin-top:52px}
.file .empty{padding:8px 12px}
.lines{line-height:1.5;padding:2px 0}
.line{display:flex}
.n{flex:none;width:46px;padding-right:9px;text-align:right;color:var(--faint);user-select:none;-webkit-user-select:none}
.n+.n{border-right:1px solid var(--line);margin-right:9px}
.code{flex:1;min-width:0;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;tab-size:4;padding-right:8px}
.line.add{background:var(--add)}
.line.del{background:var(--del)}
.line.hunk{background:var(--hunk);color:var(--faint);padding-left:12px}
.line.faint{padding-left:12px;font-size:12px}

.story{list-style:none}
.step{padding:9px 0 9px 14px;border-left:2px solid var(--line);position:relative;margin-left:11px}
.step .row{display:flex;flex-wrap:wrap;gap:0 10px;align-items:baseline;font-size:13px}
.number{margin-left:-26px;width:23px;height:23px;line-height:21px;text-align:center;border-radius:12px;flex:none;
background:var(--page);border:1px solid var(--line);font-size:12px;font-variant-numeric:tabular-nums}
.step .text{white-space:pre-wrap;margin:2px 0}
.use{padding:2px 0;overflow-wrap:anywhere}
.use .faint{white-space:nowrap}
.calls{font-size:13px;font-variant-numeric:tabular-nums}
.calls td,.calls thead th{text-align:right}
.calls th:first-child{text-align:left}
.calls td:last-child,.calls thead th:last-child{text-align:right;padding-right:0}
.evidence th:first-child{width:24%}

.answer{border:1px solid var(--line);border-radius:10px;padding:12px 16px}
.answer ol{padding-left:24px}
.answer ol>li{padding:7px 0}
.answer ol>li+li{border-top:1px solid var(--line)}
.answer .text{white-space:pre-wrap}
.pairs>div{display:grid;grid-template-columns:minmax(80px,130px) minmax(0,1fr);gap:2px 14px;padding:2px 0}
.pairs dt{color:var(--faint);overflow-wrap:anywhere}
pre{white-space:pre-wrap;margin:6px 0 0;padding:12px 14px;
background:var(--soft);border:1px solid var(--line);border-radius:8px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:0 28px;font-size:14px}
.grid>div{display:flex;justify-content:space-between;gap:12px;padding:5px 0;border-bottom:1px solid var(--line)}
.grid dt{color:var(--faint);overflow-wrap:anywhere}
.grid dd{font-variant-numeric:tabular-nums;text-align:right}
.receipt>div{display:grid;grid-template-columns:220px minmax(0,1fr);gap:0 14px;padding:5px 0;
border-bottom:1px solid var(--line)}
.receipt dt{color:var(--faint);font-size:14px}
.paths{padding-left:20px}

@media (max-width:860px){
.figures{grid-template-columns:repeat(3,1fr)}
}

@media (max-width:640px){
.inner,main,nav,footer{padding-left:14px;padding-right:14px}
header{padding:18px 0 16px}
header h1{font-size:25px}
.mark{width:30px;height:30px}
header .message{font-size:16px}
.figures{grid-template-columns:1fr 1fr}
.chart{padding:8px 10px 10px}
.lane{grid-template-columns:minmax(0,1fr)}
.lane .name{flex-direction:row;gap:8px;padding-top:5px}
.n{width:32px;padding-right:5px}
.files .count{white-space:normal}
.n:first-child{display:none}
.n+.n{margin-right:6px}
.calls th:nth-child(3),.calls td:nth-child(3){display:none}
th,td{padding-right:7px}
.calls{font-size:12px}
.receipt>div,.answer>.pairs>div{grid-template-columns:minmax(0,1fr);gap:0}
.pairs>div{grid-template-columns:74px minmax(0,1fr);gap:0 8px}
.answer{padding:10px 12px}
.answer ol{padding-left:20px}
}

@media print{
html{font-size:10.5pt}
nav{display:none}
.inner,main,footer{max-width:none;padding-left:0;padding-right:0}
header{padding:14px}
main{padding-top:14px}
header,.line,.chip,.notes>li,.figures{print-color-adjust:exact;-webkit-print-color-adjust:exact}
details::details-content{content-visibility:visible;block-size:auto}
.file>summary,h2,h3{break-after:avoid}
.step,.figures,.chart{break-inside:avoid}
a{color:inherit}
}
"""

PAGE_STYLE: Final = (
    f":root{{color-scheme:light dark;{_LIGHT}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}\n"
    f"{_RULES.strip()}\n"
)
"""The whole style. On paper it is light, whatever the screen is."""
