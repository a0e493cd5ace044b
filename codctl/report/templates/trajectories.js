"use strict";
(() => {
  const ROW = 46, MOST_DIFF = 4e6;
  const $ = (id) => document.getElementById(id);
  const FILTERS = ["source", "part", "arm", "outcome", "position", "order", "search"];
  let data, shown = [], chosen = null, promptsOpen = false, hasParts = false;

  // --- data ---------------------------------------------------------------------------------------------------------

  async function unpack() {
    const packed = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    $("data").remove();
    return JSON.parse(await new Response(stream).text());
  }

  const text = (place) => (place === undefined || place === null ? null : data.texts[place]);
  const sourceTitle = (one) => (one.step === null ? one.name : `${one.name}, step ${one.step}`);
  const solves = (one) => one.episodes.filter((episode) => episode.kind === "solve");
  const score = (one) => solves(one).reduce((sum, e) => sum + (e.success || 0) + (e.reward || 0) / 1e3, 0);
  const isGood = (episode) => ["solved", "written", "unchanged"].includes(episode.outcome);
  const marksOf = (one) => solves(one).map((e) => (e.success === undefined ? ["–", "none"] : e.success ? ["✓", "yes"] : ["✗", "no"]));
  const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  function label(one) {
    const parts = [one.arm === "training" ? `rollout ${one.rollout}` : one.arm];
    if (hasParts) parts.push(one.part);
    if (one.seed) parts.push(`seed ${one.seed}`);
    if (data.sources.length > 1) parts.push(sourceTitle(data.sources[one.source]));
    return parts.join(" · ");
  }

  // --- filters ------------------------------------------------------------------------------------------------------

  function fillFilters() {
    const counts = (values) => values.reduce((found, value) => found.set(value, (found.get(value) || 0) + 1), new Map());
    const all = data.trajectories, episodes = all.flatMap((one) => one.episodes);
    fill("source", counts(all.map((one) => one.source)), (place) => sourceTitle(data.sources[place]));
    fill("part", counts(all.map((one) => one.part)));
    fill("arm", counts(all.map((one) => one.arm)));
    fill("outcome", counts(episodes.map((e) => e.outcome)));
    fill("position", counts(episodes.map((e) => e.position)), (place) => `${Number(place) + 1}`);
  }

  function fill(name, counted, title = (value) => value) {
    const select = $(name);
    select.append(new Option("all", ""));
    for (const [value, count] of counted) select.append(new Option(`${title(value)} (${count})`, String(value)));
    select.parentElement.hidden = counted.size < 2;
  }

  function wants(episode, want) {
    return (want.outcome === "" || episode.outcome === want.outcome) &&
      (want.position === "" || String(episode.position) === want.position) &&
      (want.search === "" || said(episode).some((place) => (text(place) || "").toLowerCase().includes(want.search)));
  }

  function* said(episode) {
    yield* [episode.hints_before, episode.hints_after, episode.feedback];
    for (const turn of episode.turns || []) yield* [turn.prompt, turn.reply, turn.answer];
    for (const [, place] of episode.session ? episode.session.messages : []) yield place;
  }

  function filter() {
    const want = Object.fromEntries(FILTERS.map((name) => [name, $(name).value]));
    want.search = want.search.toLowerCase();
    // Each text is searched once, however many prompts share it.
    const hits = want.search && new Set(data.texts.flatMap((one, place) => (one.toLowerCase().includes(want.search) ? [place] : [])));
    const matches = (episode) => (want.outcome === "" || episode.outcome === want.outcome) &&
      (want.position === "" || String(episode.position) === want.position) &&
      (!hits || [...said(episode)].some((place) => hits.has(place)));
    shown = data.trajectories.filter((one) =>
      (want.source === "" || String(one.source) === want.source) &&
      (want.part === "" || one.part === want.part) &&
      (want.arm === "" || one.arm === want.arm) &&
      one.episodes.some(matches));
    if (want.order !== "pack") {
      const sign = want.order === "best" ? -1 : 1;
      shown = shown.map((one) => [score(one), one]).sort((a, b) => sign * (a[0] - b[0])).map((pair) => pair[1]);
    }
    $("count").textContent = shown.length === data.trajectories.length
      ? plural(shown.length, "trajectory").replace("ys", "ies")
      : `${shown.length} of ${data.trajectories.length} trajectories`;
    $("rows").style.height = `${shown.length * ROW}px`;
    drawRows();
    if (!shown.includes(chosen)) shown.length ? choose(shown[0]) : nothing();
    else choose(chosen, { keep: true });
  }

  function narrowed() {
    return FILTERS.some((name) => !["order", "source", "part", "arm"].includes(name) && $(name).value !== "");
  }

  // --- list: only the rows in sight are in the document -----------------------------------------------------------

  function drawRows() {
    const list = $("list"), first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 5);
    const rows = [];
    for (let place = first; place < last; place++) {
      const one = shown[place], row = make("div", "row");
      row.style.top = `${place * ROW}px`;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(one === chosen));
      const marks = make("span", "marks");
      for (const [mark, kind] of marksOf(one)) marks.append(make("span", kind, mark));
      row.append(marks, make("span", "pack", one.pack), make("span", "soft", label(one)));
      row.addEventListener("click", () => choose(one));
      rows.push(row);
    }
    $("rows").replaceChildren(...rows);
  }

  function reveal(one) {
    const list = $("list"), top = shown.indexOf(one) * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    drawRows();
  }

  // --- one trajectory ---------------------------------------------------------------------------------------------

  function make(tag, css, content) {
    const node = document.createElement(tag);
    if (css) node.className = css;
    if (content !== undefined) node.textContent = content;
    return node;
  }

  function nothing() {
    chosen = null;
    $("detail").replaceChildren(make("p", "soft", "Nothing matches these filters."));
  }

  function choose(one, { keep = false, place = null } = {}) {
    chosen = one;
    if (!keep) reveal(one);
    const detail = $("detail"), top = detail.scrollTop;
    const marks = make("span", "marks");
    for (const [mark, kind] of marksOf(one)) marks.append(make("span", kind, mark));
    const head = make("h1", "", `${one.pack} `);
    head.append(marks);
    const done = solves(one), solved = done.reduce((sum, e) => sum + (e.success || 0), 0);
    const reward = done.reduce((sum, e) => sum + (e.reward || 0), 0), raw = rawOf(done);
    const nodes = [head, make("p", "soft", `${label(one)} · ${solved} of ${done.length} solved, reward ${reward.toFixed(2)}${raw}`)];
    for (const truth of new Set(done.map((e) => text(e.truth)).filter(Boolean)))
      nodes.push(make("p", "", `Truth: ${truth.split("\n").map((line) => line.replace(/^- /, "")).join(" ")}`));
    nodes.push(...chips(one.arm === "training" ? "same pack" : "arm", siblings(one), (other) => (other.arm === "training" ? `rollout ${other.rollout}` : other.arm)));
    nodes.push(...chips("step", steps(one), (other) => sourceTitle(data.sources[other.source])));
    const isNarrowed = narrowed(), want = Object.fromEntries(FILTERS.map((name) => [name, $(name).value.toLowerCase()]));
    for (const episode of one.episodes) nodes.push(drawEpisode(episode, done.length, isNarrowed && wants(episode, want)));
    if (steps(one).length > 1) nodes.push(followed(one));
    detail.replaceChildren(...nodes);
    detail.scrollTop = keep ? top : 0;
    const target = place !== null ? detail.querySelectorAll(".episode")[place] : isNarrowed && !keep && detail.querySelector(".match");
    if (target) target.scrollIntoView();
    link(one);
  }

  function siblings(one) {
    return data.trajectories.filter((other) =>
      other.pack === one.pack && other.source === one.source && other.part === one.part && other.seed === one.seed);
  }

  function steps(one) {
    const seen = new Map();
    for (const other of data.trajectories)
      if (other.pack === one.pack && other.part === one.part && other.arm === one.arm && other.seed === one.seed &&
          other.rollout === one.rollout) seen.set(other.source, other);
    return [...seen.values()];
  }

  function chips(name, others, title) {
    if (others.length < 2) return [];
    const line = make("div", "chips");
    line.append(make("span", "soft", `${name}:`));
    for (const other of others) {
      const chip = make("button", other === chosen ? "on" : "", `${title(other)} `);
      chip.type = "button";
      for (const [mark, kind] of marksOf(other)) chip.append(make("span", kind, mark));
      chip.addEventListener("click", () => choose(other));
      line.append(chip);
    }
    return [line];
  }

  function drawEpisode(episode, tasks, matches) {
    const box = make("section", `episode ${episode.kind} ${isGood(episode) ? "good" : "bad"}${matches ? " match" : ""}`);
    const task = episode.position + 1, isSolve = episode.kind === "solve", turns = episode.turns || [];
    const head = make("h2", "", isSolve ? `Task ${task} of ${tasks}: ` : `Update after task ${task}: `);
    head.append(make("span", `outcome ${isGood(episode) ? "yes" : "no"}`, episode.outcome));
    const words = data.outcomes[episode.outcome], facts = words && words !== episode.outcome && episode.outcome !== "written" ? [words] : [];
    if (isSolve) facts.push(plural(turns.length, "turn"));
    if (isSolve && episode.reward !== undefined) facts.push(`reward ${episode.reward.toFixed(2)}${rawOf([episode])}`);
    if (episode.credit_advantage !== undefined)
      facts.push(`return ${episode.credit_return.toFixed(2)}`, `advantage ${signed(episode.credit_advantage)}`);
    head.append(make("small", "", facts.length ? ` ${facts.join(", ")}` : ""));
    box.append(head);
    if (episode.performance) box.append(make("p", "soft", episode.performance));
    if (text(episode.words)) box.append(make("p", "no", `The server said: ${text(episode.words)}`));
    if (isSolve) {
      box.append(make("h3", "", `Hints in force (${scoreOf(episode)})`));
      box.append(make("pre", text(episode.hints_before) ? "" : "soft", text(episode.hints_before) || "(none)"));
    }
    turns.forEach((turn, place) => box.append(...drawTurn(turn, place + 1, episode)));
    if (episode.session) box.append(drawSession(episode.session));
    if (!isSolve) {
      const before = text(episode.hints_before) || "", after = text(episode.hints_after) || "";
      box.append(make("h3", "", `Hints, ${before === after ? "unchanged" : "changed"} (${scoreOf(episode)})`));
      box.append(difference(before, after));
    }
    return box;
  }

  // What an agent program and its model said: its own prompt first.
  function drawSession(session) {
    const box = make("details", "session");
    const tools = session.tools.length ? `, tools ${session.tools.join(", ")}` : "";
    box.append(make("summary", "", `the agent's own session: ${plural(session.exchanges, "exchange")} with the model${tools}`));
    const draw = () => {
      if (box.childElementCount < 2)
        for (const [role, place] of session.messages) box.append(make("h3", "", role), written("prompt", text(place)));
    };
    const search = $("search").value.toLowerCase();
    box.open = search !== "" && session.messages.some(([, place]) => text(place).toLowerCase().includes(search));
    if (box.open) draw();
    box.addEventListener("toggle", draw);
    return box;
  }

  function drawTurn(turn, number, episode) {
    const isSolve = episode.kind === "solve", rows = make("div", "turn");
    const row = (name, node, title = "") => { const label = make("span", "label", name); label.title = title; rows.append(label, node); };
    const prompt = make("details");
    const search = $("search").value.toLowerCase();
    prompt.open = promptsOpen || (search !== "" && text(turn.prompt).toLowerCase().includes(search));
    prompt.append(make("summary", "", plural(turn.prompt_tokens, "token")));
    const draw = () => prompt.childElementCount < 2 && prompt.append(written("prompt", text(turn.prompt), episode.specials));
    if (prompt.open) draw();
    prompt.addEventListener("toggle", draw);
    row(`prompt ${number}`, prompt);
    if (turn.reply === null) { row("reply", make("pre", "nothing", "no reply came")); return [rows]; }
    row(`reply (${turn.reply_tokens})`, written("reply", text(turn.reply), episode.specials), plural(turn.reply_tokens, "token"));
    if (turn.read === null) row("read", make("pre", "nothing", "nothing"));
    else if (isSolve) row("read", written("read", text(turn.read)));
    if (text(turn.answer)) row(isSolve ? "world" : "why", written("answer", text(turn.answer)));
    return [rows];
  }

  // Special tokens and what was searched for are marked; all else is plain text.
  function written(css, content, specials = []) {
    const box = make("pre", css), search = $("search").value;
    box.tabIndex = css === "prompt" ? 0 : -1;
    const words = [...specials, ...(search ? [search] : [])].map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    if (!words.length) { box.textContent = content; return box; }
    const parts = content.split(new RegExp(`(${words.join("|")})`, "gi"));
    parts.forEach((part, place) => {
      if (!part) return;
      if (!(place % 2)) box.append(part);
      else if (specials.includes(part)) box.append(make("span", "special", part));
      else if (search && part.toLowerCase() === search.toLowerCase()) box.append(make("mark", "", part));
      else box.append(part);
    });
    return box;
  }

  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

  // Only graded families have one, and numbers about hints.
  function rawOf(episodes) {
    const known = episodes.map((e) => e.raw_reward).filter((value) => value !== undefined);
    return known.length ? `, raw reward ${known.reduce((sum, value) => sum + value, 0).toFixed(2)}` : "";
  }

  function scoreOf(e) {
    const detail = Object.entries(e.hint_detail || {}).map(([name, value]) => `; ${name.replaceAll("_", " ")} ${+value.toPrecision(3)}`);
    return `${e.hint_right} right, ${e.hint_wrong} wrong, ${e.hint_missing} missing; ${e.hint_knowable_right} of ${e.hint_knowable} that could be known${detail.join("")}`;
  }

  // --- what changed, word by word: the longest common subsequence --------------------------------------------------

  function difference(before, after) {
    const box = make("pre", "hint");
    if (!before && !after) { box.className = "soft"; box.textContent = "(none)"; return box; }
    for (const [kind, words] of compare(before.match(/\S+\s*/g) || [], after.match(/\S+\s*/g) || [])) {
      if (kind === "same") box.append(words);
      else box.append(make(kind, "", words.trimEnd()), words.slice(words.trimEnd().length) || " ");
    }
    return box;
  }

  function compare(a, b) {
    const same = (i, j) => a[i].trim() === b[j].trim();
    if (a.length * b.length > MOST_DIFF) return [["del", a.join("")], ["ins", b.join("")]];
    const width = b.length + 1, lengths = new Uint32Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        lengths[i * width + j] = same(i, j) ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    const found = [];
    const add = (kind, word) => {
      if (found.length && found[found.length - 1][0] === kind) found[found.length - 1][1] += word;
      else found.push([kind, word]);
    };
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && same(i, j)) { add("same", b[j]); i++; j++; }
      else if (j >= b.length || (i < a.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) add("del", a[i++]);
      else add("ins", b[j++]);
    }
    return found;
  }

  function followed(one) {
    const box = make("section", "followed"), table = make("table"), scroll = make("div", "scroll");
    box.append(make("h2", "", "Its hints over the steps"), make("p", "soft", "Each is compared with the same hint at the step before."), scroll);
    scroll.append(table);
    const earlier = new Map();
    for (const other of steps(one)) {
      for (const episode of other.episodes.filter((e) => e.kind === "update")) {
        const after = text(episode.hints_after) || "", before = earlier.has(episode.position) ? earlier.get(episode.position) : after;
        const row = make("tr"), cell = make("td");
        cell.append(difference(before, after));
        row.append(make("th", "", `${sourceTitle(data.sources[other.source])}, after task ${episode.position + 1}`), cell);
        table.append(row);
        earlier.set(episode.position, after);
      }
    }
    return box;
  }

  // --- links and keys ---------------------------------------------------------------------------------------------

  const LINKED = ["pack", "arm", "part", "seed", "rollout"];  // and source and step

  function link(one) {
    const parts = new URLSearchParams();
    for (const name of LINKED) if (one[name] !== "" && (name === "pack" || one[name] !== 0)) parts.set(name, one[name]);
    if (data.sources.length > 1) {
      const source = data.sources[one.source];
      parts.set("source", source.name);
      if (source.step !== null) parts.set("step", source.step);
    }
    const hash = `#${parts.toString().replaceAll("%2F", "/")}`;
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  function linked(parts) {
    const wanted = parts.get("pack");
    return data.trajectories.find((one) => {
      const source = data.sources[one.source];
      return (one.pack === wanted || String(one.number) === wanted || one.pack.split("/")[3] === wanted) &&
        LINKED.slice(1).every((name) => !parts.has(name) || String(one[name]) === parts.get(name)) &&
        (!parts.has("source") || source.name === parts.get("source")) &&
        (!parts.has("step") || String(source.step) === parts.get("step"));
    });
  }

  function follow(hash) {
    const parts = new URLSearchParams(hash.slice(1));
    if (!parts.has("pack")) return;
    const one = linked(parts);
    problem(one ? "" : "The page has no trajectory of this link.");
    if (!one) return;
    if (!shown.includes(one)) clear();
    choose(one, { place: parts.has("episode") ? Number(parts.get("episode")) - 1 : null });
  }

  function problem(words) {
    $("problem").hidden = !words;
    $("problem").textContent = words;
  }

  function clear() {
    for (const name of FILTERS) $(name).value = name === "order" ? "pack" : "";
    filter();
  }

  function move(by) {
    const place = shown.indexOf(chosen) + by;
    if (place >= 0 && place < shown.length) choose(shown[place]);
  }

  function moveEpisode(by) {
    const detail = $("detail"), boxes = [...detail.querySelectorAll(".episode")], top = detail.getBoundingClientRect().top;
    const offsets = boxes.map((box) => Math.round(box.getBoundingClientRect().top - top - 8));
    const next = by > 0 ? offsets.findIndex((offset) => offset > 4) : offsets.findLastIndex((offset) => offset < -4);
    if (next >= 0) boxes[next].scrollIntoView();
    else if (by < 0) detail.scrollTop = 0;
  }

  function next(others) {
    if (others.length > 1) choose(others[(others.indexOf(chosen) + 1) % others.length]);
  }

  function ranked(rank) {
    if (!shown.length) return;
    const own = shown.filter((one) => one.arm === "own" || one.arm === "training");
    const sorted = (own.length ? own : shown).map((one) => [score(one), one]).sort((a, b) => a[0] - b[0]);
    const place = { best: sorted.length - 1, worst: 0, typical: Math.floor((sorted.length - 1) / 2) }[rank];
    choose(sorted[place][1]);
  }

  const ACTIONS = {
    j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1),
    n: () => moveEpisode(1), p: () => moveEpisode(-1),
    a: () => chosen && next(siblings(chosen)), s: () => chosen && next(steps(chosen)),
    b: () => ranked("best"), t: () => ranked("typical"), w: () => ranked("worst"),
    e: () => toggle("prompts"), x: clear, "?": () => toggle("keys"), "/": () => $("search").focus(),
  };

  function toggle(what) {
    const button = document.querySelector(`[data-do="${what}"]`);
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    if (what === "keys") $("keys").hidden = !on;
    else { promptsOpen = on; if (chosen) choose(chosen, { keep: true }); }
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { event.target.blur?.(); $("keys").hidden || toggle("keys"); return; }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key.startsWith("Arrow") && event.target.id !== "list") return;
    const action = ACTIONS[event.key];
    if (action) { event.preventDefault(); action(); }
  }

  async function begin() {
    data = await unpack();
    hasParts = new Set(data.trajectories.map((one) => one.part)).size > 1;
    fillFilters();
    let timer = 0;
    for (const name of FILTERS) $(name).addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, name === "search" ? 200 : 0); });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const button of document.querySelectorAll("[data-do]"))
      button.addEventListener("click", () => (button.hasAttribute("aria-pressed") ? toggle(button.dataset.do) : ranked(button.dataset.do)));
    $("list").addEventListener("scroll", drawRows);
    addEventListener("resize", drawRows);
    addEventListener("hashchange", () => follow(location.hash));
    document.addEventListener("keydown", onKey);
    const hash = location.hash;  // which drawing the first trajectory replaces
    filter();
    follow(hash);
    document.body.dataset.ready = "yes";
  }

  begin().catch((error) => problem(`The page cannot be drawn: ${error}`));
})();
