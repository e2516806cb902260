"use strict";
// Keeps the page of a load that still goes up to date: it is loaded again once its server has newer figures.
(() => {
  const KEY = "knouds-harness";
  const shown = document.body.dataset.version;
  const selects = [...document.querySelectorAll("select[id]")];
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
  for (const select of selects) {
    const isThere = [...select.options].some((option) => option.value === kept[select.id]);
    if (isThere && select.value !== kept[select.id]) {
      select.value = kept[select.id];
      select.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }
  async function look() {
    let newest;
    try {
      do {
        // The server answers once it has another version: a hidden page has next to no timers.
        newest = await (await fetch(`/version?${encodeURIComponent(shown)}`)).text();
      } while (newest === shown);
    } catch {
      document.getElementById("ended").hidden = false;
      return;
    }
    sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries(selects.map((each) => [each.id, each.value]))));
    location.reload();
  }
  look();
})();
