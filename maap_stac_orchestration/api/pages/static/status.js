// Keeps a page live: asks for the same address every few seconds while somebody looks, and changes what is different.
// What is typed, focused, opened and scrolled to stays. Without this script every page works by its links and forms.
"use strict";

(() => {
  const RETRY_AT_MOST = 30_000;
  const PATIENCE = 10_000;
  const TYPING = 250;

  const seconds = Number(document.body.dataset.live);
  const state = document.getElementById("live-state");
  const text = document.getElementById("live-text");
  const toggle = document.getElementById("live-toggle");

  let address = location.href;
  let tag = null;
  let paused = false;
  let failures = 0;
  let timer = null;
  let asking = null;

  // What it says of itself. The text changes only with the state: a screen reader reads it out.
  function show(name, words) {
    state.dataset.state = name;
    if (text.textContent !== words) text.textContent = words;
  }

  // ---- Times: how long ago, while the time itself stays in the title --------------------------------------------

  const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60]];
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

  function ago(element) {
    const past = (Date.now() - Date.parse(element.dateTime)) / 1000;
    const [unit, size] = UNITS.find(([, size]) => Math.abs(past) >= size) ?? ["second", 1];
    if (!element.title) element.title = element.textContent;
    const words = unit === "second" ? "just now" : relative.format(-Math.floor(past / size), unit);
    if (element.textContent !== words) element.textContent = words;
  }

  function tellTimes() {
    document.querySelectorAll("time[data-relative]").forEach(ago);
  }

  // ---- Changing what is different ----------------------------------------------------------------------------------

  function key(node) {
    return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || null : null;
  }

  // What another script has put there is its own.
  function kept(node) {
    return node?.nodeType === Node.ELEMENT_NODE && "kept" in node.dataset;
  }

  function same(one, other) {
    return !kept(one) && one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);
  }

  function become(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    // The words of this time are ours, and the same as before.
    if (old.nodeName === "TIME" && "relative" in old.dataset && old.dateTime === fresh.dateTime) return;
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    becomeWithin(old, fresh);
  }

  function becomeWithin(old, fresh) {
    const wanted = new Set([...fresh.childNodes].map(key).filter(Boolean));
    const known = new Map();
    for (const child of [...old.childNodes]) {
      const name = key(child);
      if (!name) continue;
      if (wanted.has(name)) known.set(name, child);
      else child.remove();
    }
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const there = known.get(key(child)) ?? (next && same(next, child) ? next : null);
      if (!there) {
        old.insertBefore(document.importNode(child, true), next);
        continue;
      }
      if (there === next) next = next.nextSibling;
      else old.insertBefore(there, next);
      become(there, child);
    }
    while (next) {
      const following = next.nextSibling;
      if (!kept(next)) next.remove();
      next = following;
    }
  }

  function take(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const here = document.getElementById("live-part");
    const there = fresh.getElementById("live-part");
    if (!here || !there) {
      // Another kind of page than before: what was not known is, or the other way round.
      location.reload();
      return;
    }
    const focused = document.activeElement;
    become(here, there);
    for (const link of document.querySelectorAll("[data-alternate], link[rel=alternate]")) {
      const other = fresh.querySelector(link.nodeName === "LINK" ? "link[rel=alternate]" : "[data-alternate]");
      if (other) link.setAttribute("href", other.getAttribute("href"));
    }
    if (document.title !== fresh.title) document.title = fresh.title;
    if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    begin();
    document.dispatchEvent(new Event("page-changed"));
  }

  // ---- Asking --------------------------------------------------------------------------------------------------------

  async function ask() {
    clearTimeout(timer);
    asking?.abort();
    const mine = (asking = new AbortController());
    const patience = setTimeout(() => mine.abort(), PATIENCE);
    const asked = address;
    try {
      const headers = { Accept: "text/html" };
      if (tag) headers["If-None-Match"] = tag;
      const answer = await fetch(asked, { headers, signal: mine.signal });
      if (answer.status !== 304) {
        const html = await answer.text();
        if (mine !== asking) return;
        const expected = answer.ok || (answer.status === 404 && !document.getElementById("live-part"));
        if (!expected) throw new Error(`answered ${answer.status}`);
        if (answer.ok) take(html);
        tag = answer.headers.get("ETag");
      }
      if (mine !== asking) return;
      failures = 0;
      show(paused ? "paused" : "live", paused ? "Paused" : "Live");
    } catch (error) {
      if (mine !== asking) return; // a later question took its place
      failures += 1;
      const since = new Date().toISOString().slice(11, 16);
      if (state.dataset.state !== "lost") show("lost", `Cannot reach the server since ${since} UTC`);
    } finally {
      clearTimeout(patience);
      if (mine === asking) wait();
    }
  }

  function wait() {
    clearTimeout(timer);
    if (paused || document.hidden || !seconds) return;
    timer = setTimeout(ask, Math.min(seconds * 1000 * 2 ** Math.min(failures, 5), Math.max(RETRY_AT_MOST, seconds * 1000)));
  }

  // ---- Filters as they are typed -------------------------------------------------------------------------------------

  let typing = null;

  function filtered(form) {
    const asked = new URL(form.action);
    for (const [name, value] of new FormData(form)) if (value) asked.searchParams.set(name, value);
    if (asked.href === address) return;
    address = asked.href;
    tag = null;
    history.replaceState(null, "", address);
    ask();
  }

  for (const form of document.querySelectorAll("form[data-filter]")) {
    form.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(filtered, TYPING, form);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(typing);
      filtered(form);
    });
  }

  // ---- Copying -------------------------------------------------------------------------------------------------------

  function begin() {
    tellTimes();
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-copy]");
    if (!button) return;
    const copied = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(copied.textContent);
      button.textContent = "Copied";
    } catch {
      // Not allowed: it is marked, and the keyboard copies it.
      getSelection().selectAllChildren(copied);
      button.textContent = "Marked";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });

  begin();
  setInterval(tellTimes, 20_000);
  if (seconds) {
    state.hidden = false;
    show("live", "Live");
    toggle.addEventListener("click", () => {
      paused = !paused;
      toggle.textContent = paused ? "Resume" : "Pause";
      show(paused ? "paused" : "live", paused ? "Paused" : "Live");
      if (paused) clearTimeout(timer);
      else ask();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !paused) ask();
    });
    wait();
  }
})();
