"use strict";
(() => {
  const STEP = 25;
  const NAMES = {
    right: "✓ right", wrong: "✗ wrong", unparsed: "? unparsed", failed: "! failed",
    out_of_memory: "! out of memory", unscored: "– unscored",
  };
  const byId = (id) => document.getElementById(id);
  const list = byId("list"), search = byId("search"), category = byId("category"), order = byId("order");
  const questions = [];
  for (const block of document.querySelectorAll("script.q")) questions.push(JSON.parse(block.textContent));

  // An element with its class and text; nothing from the data is ever read as markup.
  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined && text !== null) element.textContent = text;
    return element;
  };
  const part = (parent, tag, name, text) => parent.appendChild(make(tag, name, text));

  const counts = {}, categories = new Map();
  for (const q of questions) {
    counts[q.v] = (counts[q.v] || 0) + 1;
    if (q.c) categories.set(q.c, (categories.get(q.c) || 0) + 1);
  }
  const chosen = new Set();
  for (const verdict of Object.keys(NAMES)) {
    if (!counts[verdict]) continue;
    const button = part(byId("verdicts"), "button", "", NAMES[verdict] + " " + counts[verdict]);
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const on = !chosen.delete(verdict);
      if (on) chosen.add(verdict);
      button.setAttribute("aria-pressed", String(on));
      filter();
    });
  }
  // Answers whose verdict a person has set, beside the machine's.
  let onlySet = false;
  const set = questions.filter((q) => q.h).length;
  if (set) {
    const button = part(byId("verdicts"), "button", "", "✎ set by a person " + set);
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      onlySet = !onlySet;
      button.setAttribute("aria-pressed", String(onlySet));
      filter();
    });
  }
  part(category, "option", "", "All categories").value = "";
  for (const [name, count] of [...categories].sort((a, b) => (a[0] < b[0] ? -1 : 1))) {
    part(category, "option", "", name + " (" + count + ")").value = name;
  }
  category.hidden = categories.size < 2;

  let matching = questions, shown = 0;
  const words = (q) => q.words ??= [q.i, q.id, q.c, q.q, q.g, q.r, q.t, q.a, q.e, ...q.o.flat(), ...(q.j || []).slice(0, 4), (q.h || [])[1]].join("\n").toLowerCase();
  const ORDERS = { score: (a, b) => a.s - b.s, slow: (a, b) => b.d - a.d, long: (a, b) => b.n[2] - a.n[2] };

  function filter() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    matching = questions.filter((q) =>
      (!chosen.size || chosen.has(q.v)) && (!onlySet || q.h) && (!category.value || q.c === category.value) &&
      wanted.every((word) => words(q).includes(word)));
    if (ORDERS[order.value]) matching.sort(ORDERS[order.value]);
    list.replaceChildren();
    shown = 0;
    more();
  }

  function more() {
    const next = document.createDocumentFragment();
    for (const q of matching.slice(shown, shown + STEP)) next.append(card(q));
    list.append(next);
    shown = Math.min(shown + STEP, matching.length);
    byId("more").hidden = shown >= matching.length;
    byId("shown").textContent =
      matching.length ? "Showing " + shown + " of " + matching.length : "No question matches";
  }

  function card(q) {
    const card = make("article", q.v);
    const head = part(card, "header");
    part(head, "b", "", "#" + q.i);
    if (q.id) part(head, "span", "", q.id);
    if (q.c) part(head, "span", "", q.c).dir = "auto";
    if (q.h) part(head, "span", "person", "✎ set by a person");
    part(head, "span", "pill", NAMES[q.v] + (q.s > 0 && q.s < 1 ? " (credit " + q.s.toFixed(2) + ")" : ""));
    if (q.p.length) card.append(pictures(q));
    part(card, "p", "text question", q.q).dir = "auto";
    if (q.o.length) card.append(options(q));
    part(card, "p", "label", "The model answered");
    card.append(answer(q));
    if (q.e) part(card, "p", "text error", q.e);
    if (q.t) {
      const thinking = part(card, "details");
      part(thinking, "summary", "", "What it thought before");
      part(thinking, "p", "text answer", q.t).dir = "auto";
    }
    if (q.j) card.append(judge(q.j));
    if (q.h) card.append(person(q.h));
    const pairs = part(card, "p", "pairs facts");
    part(pairs, "span", "", "read: " + (q.a || "nothing") + (q.b ? " (" + q.b + ")" : ""));
    if (q.g) part(pairs, "span", "", "expected: " + q.g);
    const [tiles, prompt, output] = q.n;
    if (tiles) part(pairs, "span", "", tiles + (tiles === 1 ? " tile" : " tiles"));
    if (prompt) part(pairs, "span", "", prompt + " + " + output + " tokens");
    if (q.d) part(pairs, "span", "", q.d.toFixed(q.d < 10 ? 2 : 0) + " s");
    if (q.f === "length") part(pairs, "span", "", "cut at the longest length");
    return card;
  }

  const OUTCOMES = {
    read: "its reply was read", cannot_tell: "it could not tell either", failed: "it gave no reply",
    not_asked: "it was not asked any more",
  };

  function judge([name, outcome, reply, problem, decided]) {
    const line = make("p", "judge facts");
    part(line, "b", "", "Judge " + name);
    part(line, "span", "", (decided ? "decided" : OUTCOMES[outcome] || outcome) + (reply === null ? "" : ": "));
    if (reply !== null) part(line, "q", "text", reply).dir = "auto";
    if (problem) part(line, "span", "error", problem);
    return line;
  }

  function person([verdict, reason]) {
    const line = make("p", "person facts");
    part(line, "b", "", "✎ A person says " + (NAMES[verdict] || verdict) + (reason ? ": " : ""));
    part(line, "q", "text", reason).dir = "auto";
    line.lastChild.hidden = !reason;
    return line;
  }

  function answer(q) {
    const text = make("p", "text answer");
    text.dir = "auto";
    if (q.m) {
      text.append(q.r.slice(0, q.m[0]), make("mark", "", q.r.slice(q.m[0], q.m[1])), q.r.slice(q.m[1]));
    } else {
      text.textContent = q.r || "(no text)";
    }
    return text;
  }

  function options(q) {
    const all = make("ul", "options");
    for (const [letter, content] of q.o) {
      const gold = q.g === letter, picked = q.a === letter;
      const option = part(all, "li", (gold ? "gold " : "") + (picked ? "picked" : ""));
      part(option, "b", "", letter);
      part(option, "span", "text", content).dir = "auto";
      part(option, "span", "hint", (gold ? "expected" : "") + (gold && picked ? " · " : "") + (picked ? "read" : ""));
    }
    return all;
  }

  function pictures(q) {
    const row = make("div", "pictures");
    for (const [id, name, width, height] of q.p) {
      const caption = (name || "picture") + (width ? ", " + width + " × " + height : "");
      const figure = part(row, "figure");
      if (id === null) {
        part(figure, "div", "missing", caption + ": not in this report");
        continue;
      }
      const button = part(figure, "button");
      button.type = "button";
      const image = part(button, "img");
      image.src = JSON.parse(byId("p" + id).textContent);
      image.alt = caption;
      image.decoding = "async";
      button.addEventListener("click", () => enlarge(image.src, caption));
      part(figure, "figcaption", "", caption);
    }
    return row;
  }

  function enlarge(address, caption) {
    const dialog = byId("large");
    dialog.querySelector("img").src = address;
    dialog.querySelector("p").textContent = caption;
    dialog.showModal();
  }
  byId("large").addEventListener("click", (event) => {
    if (event.target === byId("large")) byId("large").close();
  });

  let waiting;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 150);
  });
  category.addEventListener("change", filter);
  order.addEventListener("change", filter);
  byId("more").addEventListener("click", more);
  new IntersectionObserver((seen) => {
    if (seen.some((it) => it.isIntersecting) && shown && shown < matching.length) more();
  }, { rootMargin: "600px" }).observe(byId("more"));
  // On paper: how it was run, and as many questions as anyone reads there.
  window.addEventListener("beforeprint", () => {
    document.querySelector(".settings").open = true;
    while (shown < Math.min(matching.length, 200)) more();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      search.focus();
    }
  });
  filter();
})();
