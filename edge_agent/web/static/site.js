/* Live regions, the theme switch, and nothing else. Pages work without it; they just do not move. */
"use strict";
(function () {
  const TIMEOUT_MS = 8000;
  const contact = document.querySelector("[data-contact]");
  const shown = new WeakMap();
  let failures = 0;

  function say(ok) {
    failures = ok ? 0 : failures + 1;
    if (!contact) return;
    const lost = failures > 1;
    contact.dataset.contact = lost ? "lost" : "live";
    contact.textContent = lost ? "no contact with the box" : "live";
    document.body.classList.toggle("stale", lost);
  }

  async function refresh(region) {
    if (document.hidden || region.matches(":focus-within")) return;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(region.dataset.live, { signal: stop.signal, cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text();
      if (shown.get(region) !== text) {
        region.innerHTML = text;
        shown.set(region, text);
      }
      say(true);
    } catch {
      say(false);
    } finally {
      clearTimeout(timer);
    }
  }

  function follow(region) {
    const every = Number(region.dataset.every || "2") * 1000;
    const next = async () => {
      await refresh(region);
      setTimeout(next, every);
    };
    setTimeout(next, every);
  }
  document.querySelectorAll("[data-live]").forEach(follow);

  function openTarget() {
    const named = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (named && named.tagName === "DETAILS") named.open = true;
  }
  addEventListener("hashchange", openTarget);
  openTarget();

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-switch]");
    if (!button) return;
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds for this page */ }
  });
})();
