// Makes pages quicker to use; every one works without it. No text from the server becomes markup here.
"use strict";

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// --- copying commands
for (const button of document.querySelectorAll("[data-copy]")) {
  const code = button.parentElement.querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Plain HTTP on another host has no clipboard: mark the text, so that Ctrl-C takes it.
      getSelection().selectAllChildren(code);
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// --- search as you type
const field = document.querySelector("[data-suggest]");
if (field) {
  const list = element("ul", { id: "suggestions", class: "suggest", role: "listbox", "aria-label": "Suggestions" });
  const form = field.form;
  let asked = 0, chosen = -1, waiting = 0;
  list.hidden = true;
  form.append(list);
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "false", "aria-controls": "suggestions", "aria-autocomplete": "list" })) field.setAttribute(name, value);

  const close = () => {
    list.hidden = true;
    chosen = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const choose = (number) => {
    const options = [...list.querySelectorAll("[role=option]")];
    if (!options.length) return;
    chosen = (number + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === chosen)));
    options[chosen].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", options[chosen].id);
  };
  const marked = (name, term) => {
    const at = name.toLowerCase().indexOf(term.toLowerCase());
    return at < 0 ? [name] : [name.slice(0, at), element("b", {}, name.slice(at, at + term.length)), name.slice(at + term.length)];
  };
  const show = (found, term) => {
    const options = found.map((item, at) => {
      const option = element("li", { role: "option", id: `s-${at}`, "aria-selected": "false", "data-url": item.url }, element("span", {}, ...marked(item.name, term)), element("span", { class: "sub" }, item.kind));
      option.addEventListener("mousedown", (event) => { event.preventDefault(); location.assign(item.url); });
      return option;
    });
    if (!options.length) options.push(element("li", { class: "nothing", role: "option", "aria-disabled": "true", "aria-selected": "false" }, `Nothing fits “${term}”`));
    list.replaceChildren(...options);
    list.hidden = false;
    chosen = -1;
    field.setAttribute("aria-expanded", "true");
  };
  const ask = async () => {
    const term = field.value.trim(), mine = ++asked;
    if (!term) return close();
    try {
      const answer = await fetch(`${field.dataset.suggest}?q=${encodeURIComponent(term)}`, { credentials: "same-origin" });
      if (!answer.ok) return close();
      const found = await answer.json();
      if (mine === asked && document.activeElement === field) show(found, term);
    } catch {
      close();
    }
  };
  field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, 80); });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return close();
    if (list.hidden) return;
    if (event.key === "ArrowDown") { event.preventDefault(); choose(chosen + 1); }
    if (event.key === "ArrowUp") { event.preventDefault(); choose(chosen < 0 ? -1 : chosen - 1); }
    if (event.key === "Enter" && chosen >= 0) {
      const option = list.querySelectorAll("[role=option]")[chosen];
      if (option && option.dataset.url) { event.preventDefault(); location.assign(option.dataset.url); }
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });
}

// --- choosing several rows
for (const form of document.querySelectorAll("[data-choosing]")) {
  const all = form.querySelector("[data-all]");
  const ticks = [...form.querySelectorAll("tbody input[type=checkbox]")];
  const button = form.querySelector("[data-delete]");
  const words = form.querySelector("[data-chosen]");
  const rest = words.textContent;
  const count = () => {
    const n = ticks.filter((tick) => tick.checked).length;
    all.checked = n > 0 && n === ticks.length;
    all.indeterminate = n > 0 && n < ticks.length;
    button.disabled = n === 0;
    words.textContent = n ? `${n} chosen. ${rest}` : rest;
  };
  all.hidden = false;
  all.addEventListener("change", () => { for (const tick of ticks) tick.checked = all.checked; count(); });
  let last = null;
  for (const tick of ticks) {
    tick.addEventListener("click", (event) => {
      if (event.shiftKey && last) {
        const [from, to] = [ticks.indexOf(last), ticks.indexOf(tick)].sort((a, b) => a - b);
        for (const between of ticks.slice(from, to + 1)) between.checked = tick.checked;
      }
      last = tick;
      count();
    });
  }
  count();
}

// --- the present tab is in sight where not all fit
for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
  const row = tab.parentElement;
  row.scrollLeft = tab.offsetLeft - row.offsetLeft - (row.clientWidth - tab.clientWidth) / 2;
}

// --- menus close when one clicks or tabs elsewhere
for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("focusout", (event) => { if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false; });
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); } });
}

// --- pushes on their way, while the page is looked at
const place = document.querySelector("[data-uploads]");
if (place) {
  const who = place.querySelector("[data-who]"), far = place.querySelector("[data-far]");
  const size = (bytes) => bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
  const say = (part, ...words) => { if (part.textContent !== words.join("")) part.replaceChildren(...words); };
  let pushing = who.textContent !== "", last = null;
  const show = (found) => {
    if (!found.length) {
      if (pushing) {
        say(who, "The push has ended.");
        far.replaceChildren(element("a", { href: location.href }, "Show what is new"));
      }
      pushing = false;
      last = null;
      return;
    }
    let bytes = found.reduce((sum, upload) => sum + upload.bytes, 0);
    const now = performance.now();
    // Behind a balancer the next answer may come from a machine that knows less.
    if (last && found.length >= last.layers) bytes = Math.max(bytes, last.bytes);
    const rate = last && bytes > last.bytes ? (bytes - last.bytes) / (now - last.at) * 1000 : 0;
    say(who, `${[...new Set(found.map((upload) => upload.by))].join(", ")} pushing`);
    say(far, `${found.length} ${found.length === 1 ? "layer" : "layers"}${bytes ? `, ${size(bytes)} so far` : ""}${rate ? `, ${size(rate)}/s` : ""}`);
    pushing = true;
    last = { bytes, layers: found.length, at: now };
  };
  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(place.dataset.uploads, { credentials: "same-origin" });
        if (answer.ok) show(await answer.json());
      } catch {
        // The server is away for a moment; the next look tells.
      }
    }
    setTimeout(look, pushing ? 1000 : 3000);
  };
  setTimeout(look, pushing ? 1000 : 3000);
}

// --- fields whose meaning depends on another one
for (const chooser of document.querySelectorAll("[data-shows]")) {
  const sync = () => {
    for (const part of document.querySelectorAll("[data-when]")) part.hidden = !part.dataset.when.split(" ").includes(chooser.value);
  };
  chooser.addEventListener("change", sync);
  sync();
}
