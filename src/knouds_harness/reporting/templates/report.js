(() => {
  "use strict";
  for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;

  const facts = document.getElementById("fact-table");
  if (facts) {
    const text = document.getElementById("fact-text");
    const status = document.getElementById("fact-status");
    const source = document.getElementById("fact-source");
    const count = document.getElementById("fact-count");
    const rows = [...facts.querySelectorAll("tr[data-status]")];
    const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const filter = () => {
      const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const fits =
          (!status.value || row.dataset.status === status.value) &&
          (!source.value || row.dataset.source === source.value) &&
          wanted.every((word) => words.get(row).includes(word));
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      }
      for (const body of facts.tBodies) body.hidden = !body.querySelector("tr[data-status]:not([hidden])");
      count.textContent = `${shown} of ${rows.length} facts`;
    };
    for (const control of [text, status, source]) control.addEventListener("input", filter);
    for (const link of document.querySelectorAll("a[data-filter]")) {
      link.addEventListener("click", () => {
        text.value = "";
        source.value = "";
        status.value = link.dataset.filter;
        filter();
      });
    }
    filter();
  }

  const findingText = document.getElementById("finding-text");
  if (findingText) {
    const section = findingText.closest("section");
    const facts = [...section.querySelectorAll("article.fact")];
    const found = [...section.querySelectorAll("details[data-finding]")];
    const count = document.getElementById("finding-count");
    const text = (element, part) => [...element.querySelectorAll(part)].map((each) => each.textContent).join(" ").toLowerCase();
    const words = new Map([...facts.map((each) => [each, text(each, ".head")]), ...found.map((each) => [each, text(each, "summary, dl")])]);
    const filter = () => {
      const wanted = findingText.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const each of found) {
        const all = `${words.get(each.closest("article"))} ${words.get(each)}`;
        each.hidden = !wanted.every((word) => all.includes(word));
      }
      for (const more of section.querySelectorAll("details.more")) {
        more.hidden = !more.querySelector("details[data-finding]:not([hidden])");
        more.open = wanted.length > 0;
      }
      for (const fact of facts) fact.hidden = !fact.querySelector("details[data-finding]:not([hidden])");
      count.textContent = `${found.filter((each) => !each.hidden).length} of ${found.length} findings`;
    };
    findingText.addEventListener("input", filter);
    filter();
  }

  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.addEventListener("click", async () => {
      const code = document.getElementById(button.dataset.copies);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        const range = document.createRange();
        range.selectNodeContents(code);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (const input of document.querySelectorAll(".filters :is(input, select)")) {
      if (target.closest("[hidden]") && input.value) {
        input.value = "";
        input.dispatchEvent(new Event("input"));
      }
    }
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
