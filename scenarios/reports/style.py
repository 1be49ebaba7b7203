"""The page's style and its few lines of script; both are in the page, nothing is fetched from anywhere."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1b1e24; --soft: #5b6270; --line: #d6d9de; --panel: #f5f6f8;
  --link: #0b5cad; --good: #00704a; --bad: #b3400a; --warn: #8a5a00;
  --blue: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --back: #15171b; --ink: #e6e8ec; --soft: #a0a7b4; --line: #363b44;
  --panel: #1e2127; --link: #7ab8ff; --good: #4fd1a1; --bad: #ff9a66; --warn: #f0b840; --blue: #3d9ee0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 82rem; padding: 1.5rem 1rem 4rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; } p { margin: .4rem 0; } a { color: var(--link); }
.soft { color: var(--soft); } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } .left { text-align: left; }
.number { white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.plots { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
figure { margin: 0; } figure svg { width: 100%; height: auto; } figcaption { color: var(--soft); font-size: .87rem; }
.filter { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .4rem; padding: .5rem 0;
  background: var(--back); }
.filter button, .filter input { font: inherit; color: inherit; background: var(--panel); padding: .2rem .7rem;
  border: 1px solid var(--line); border-radius: .4rem; }
.filter button[aria-pressed=true] { border-color: var(--link); color: var(--link); font-weight: 600; }
.filter input { flex: 1 1 12rem; }
details { border-bottom: 1px solid var(--line); } summary { cursor: pointer; padding: .35rem 0; }
summary .id { font-weight: 600; } summary .marks { float: right; margin-left: 1rem; }
.mark { display: inline-block; min-width: 1.4rem; text-align: center; }
.open { padding: 0 0 1rem 1rem; } .open td { text-align: left; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace;
  max-height: 24rem; overflow-y: auto; }
.answer { min-width: 16rem; } .hidden { display: none; }
@media print { .filter { display: none; } }
"""

SCRIPT = """
(() => {
  const cases = [...document.querySelectorAll('#cases details')];
  const buttons = [...document.querySelectorAll('.filter button')];
  const search = document.querySelector('.filter input'), shown = document.querySelector('#shown');
  let tag = '';
  const apply = () => {
    const text = search.value.toLowerCase();
    let count = 0;
    for (const one of cases) {
      const fits = (!tag || one.dataset.tags.split(' ').includes(tag))
        && (!text || one.textContent.toLowerCase().includes(text));
      one.classList.toggle('hidden', !fits);
      count += fits;
    }
    shown.textContent = count + ' of ' + cases.length + ' cases';
  };
  for (const button of buttons) button.addEventListener('click', () => {
    tag = button.dataset.tag;
    for (const other of buttons) other.setAttribute('aria-pressed', String(other === button));
    apply();
  });
  search.addEventListener('input', apply);
  document.querySelector('.filter').classList.remove('hidden');
  apply();
})();
"""
