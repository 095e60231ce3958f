"use strict";
// Asks /status every two seconds and draws what it says. Rates are differences between two answers;
// those of before the page was opened are in /status/history, which has a part of each.
// Text from the gateway goes into the document as text nodes only.

const EVERY = 2000;        // milliseconds between two questions
const WINDOW = 60;         // seconds over which rates are taken
const KEPT = 120;          // seconds for which answers are kept: a sparkline
const DAY = 86400;

const $ = (id) => document.getElementById(id);
const base = location.pathname.replace(/\/+$/, "");
let token = null;
let history = [];
let lastAnswer = null;

// ---- asking

// The answer at a path; null: the token is asked for.
async function get(path) {
  const headers = token === null ? {} : { "X-Management-Token": token };
  const answer = await fetch(base + path, { headers, cache: "no-store", signal: AbortSignal.timeout(8000) });
  if (answer.status === 401) {
    askForToken();
    return null;
  }
  if (!answer.ok) throw new Error("status " + answer.status);
  return answer.json();
}

async function ask() {
  // At first, and after a time without answers: in a tab that was hidden, say.
  if (lastAnswer === null || Date.now() - lastAnswer > 4 * EVERY) {
    const past = await get("/status/history");
    if (past === null) return;
    history = past.samples;
  }
  const now = await get("/status");
  if (now === null) return;
  // A process that was started anew counts from nothing.
  history = history.filter((answer) => answer.started === now.started && answer.now > now.now - KEPT);
  history.push(now);
  lastAnswer = Date.now();
  $("ask").hidden = true;
}

async function tick() {
  if (!document.hidden && $("ask").hidden) {
    try {
      await ask();
    } catch {
      // Said by the line at the top.
    }
    draw();
  }
  setTimeout(tick, history.length < 2 ? EVERY / 2 : EVERY);
}

function askForToken() {
  $("wrong").hidden = token === null;
  token = null;
  history = [];
  lastAnswer = null;
  for (const id of ["verdict", "tiles", "sections"]) $(id).hidden = true;
  $("ask").hidden = false;
  $("token").value = "";
  $("token").focus();
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = $("token").value;
  try {
    await ask();
  } catch {
    // A token that no header can carry is not the token.
    askForToken();
  }
  draw();
});

// ---- reckoning

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);
const everything = (answer) => [...answer.pipelines, answer.unmatched];
const find = (answer, pipeline) => pipeline.name === undefined
  ? answer.unmatched
  : answer.pipelines.find((other) => other.name === pipeline.name);

// The oldest answer within the window before the one at `index`.
function windowStart(index) {
  const end = history[index].now;
  let start = index;
  while (start > 0 && end - history[start - 1].now <= WINDOW + 1) start--;
  return start;
}

// What `count` has grown by within the window, and per second; null with one answer only.
function growth(count) {
  const last = history.length - 1;
  const start = windowStart(last);
  const seconds = history[last].now - history[start].now;
  if (seconds <= 0) return null;
  const by = Math.max(0, count(history[last]) - count(history[start]));
  return { by, rate: by / seconds };
}

// What `value` makes of each two answers that follow each other, with its time: [[time, value], ...].
const between = (value) => history.slice(1).map((answer, index) => [answer.now, value(index, index + 1)]);

// Growth per second between each two answers.
function steps(count) {
  return between((from, to) => {
    const [before, after] = [history[from], history[to]];
    return Math.max(0, count(after) - count(before)) / Math.max(0.001, after.now - before.now);
  });
}

const codesOf = (pipeline, digit) => {
  let total = 0;
  for (const [code, count] of Object.entries(pipeline.codes)) if (code[0] === digit) total += count;
  return total;
};

// The quantile of the window's requests, as Prometheus reckons it: even within a bucket.
function quantile(q, pipelines, to = history.length - 1, from = windowStart(to)) {
  const last = history[to];
  const first = history[from];
  const bounds = last.duration_bounds;
  const buckets = new Array(bounds.length + 1).fill(0);
  for (const pipeline of pipelines) {
    const before = from < to ? find(first, pipeline) : null;
    const after = find(last, pipeline);
    if (after) after.duration.cumulative.forEach((count, index) => {
      buckets[index] += count - (before ? before.duration.cumulative[index] : 0);
    });
  }
  const total = buckets[bounds.length];
  if (total <= 0) return null;
  const rank = q * total;
  const index = buckets.findIndex((count) => count >= rank);
  if (index >= bounds.length) return Infinity;
  const low = index === 0 ? 0 : bounds[index - 1];
  const under = index === 0 ? 0 : buckets[index - 1];
  const within = buckets[index] - under;
  return low + (bounds[index] - low) * (within > 0 ? (rank - under) / within : 1);
}

// The p99 between each two answers, in seconds; what lies beyond the last bound counts as that.
function slowest(pipelines) {
  return between((from, to) => Math.min(quantile(0.99, pipelines, to, from) || 0, 30));
}

// What is wrong, the worst first: [level, text].
function problems(now) {
  const found = [];
  const bad = (text) => found.push(["bad", text]);
  const warn = (text) => found.push(["warn", text]);
  const config = now.config;
  if (config.last_error) bad("The last reload was refused, " + clock(config.last_try) + ": " + firstLine(config.last_error));
  for (const text of config.set_aside) warn("Set aside: " + firstLine(text));
  for (const issuer of now.issuers) {
    if (issuer.last_error) (issuer.age_secs === null ? bad : warn)("The discovery document of " + issuer.issuer + " cannot be used: " + issuer.last_error);
  }
  const unanswered = growth((answer) => answer.introspection.failed);
  if (unanswered && unanswered.by > 0) bad("Introspection failed " + times(unanswered.by) + " in the last minute: requests with those tokens are refused with 503.");
  const kept = now.revocations;
  const full = growth((answer) => answer.revocations.turned_away);
  if (full && full.by > 0) bad(some(full.by, "revocation") + " found no room in the last minute: raise max_revocations.");
  else if (kept.entries >= kept.max) warn("The list of revocations is full: nothing more can be revoked.");
  const unwritten = growth((answer) => answer.revocations.failed);
  if (unwritten && unwritten.by > 0) bad("Revocations could not be written " + times(unwritten.by) + " in the last minute: the log says why.");
  for (const set of now.key_sets) {
    const serves = set.pipelines.length > 0 ? " It serves " + set.pipelines.join(", ") + "." : "";
    if (set.keys === 0) bad("No keys from " + set.url + (set.last_error ? ": " + set.last_error : "") + ". Its tokens are refused with 503." + serves);
    else if (set.last_error) warn("Keys of " + set.url + " are " + span(set.age_secs) + " old, the last fetch failed: " + set.last_error + "." + serves);
  }
  for (const backend of backends(now)) {
    for (const upstream of backend.upstreams) if (upstream.addresses.length === 0) bad("Upstream " + backend.name + ": " + upstream.url + " has no address yet.");
    const sick = backend.upstreams.filter(isOut).map((upstream) => upstream.url + " (" + upstream.state + (upstream.last_error ? ": " + firstLine(upstream.last_error) : "") + ")");
    if (sick.length > 0) (sick.length === backend.upstreams.length ? bad : warn)("Upstream " + backend.name + " is down at " + sick.join(", ") + ".");
    if (backend.upstreams.length > 0 && backend.upstreams.every((upstream) => upstream.drained)) bad("Upstream " + backend.name + " gets no requests: all of it is drained.");
    const failures = growth((answer) => sum((backends(answer).find((other) => other.name === backend.name) || { failures: {} }).failures));
    if (failures && failures.by > 0) warn("Upstream " + backend.name + " failed " + times(failures.by) + " in the last minute.");
  }
  const runbeam = now.runbeam;
  if (runbeam) {
    const left = runbeam.token_expires_at === null ? null : runbeam.token_expires_at - now.now;
    if (runbeam.state === "rejected") bad("Runbeam Cloud rejected the machine token. Authorize this gateway again.");
    else if (runbeam.state === "expired" || (left !== null && left <= 0)) bad("The machine token has expired. Authorize this gateway again.");
    else if (runbeam.state === "unauthorized") warn("This gateway is not authorized with Runbeam Cloud.");
    else if (left !== null && left < 5 * DAY) warn("The machine token expires in " + span(left) + ".");
    if (runbeam.last_error) warn("Runbeam Cloud: " + firstLine(runbeam.last_error));
  }
  for (const certificate of now.certificates) {
    const left = certificate.not_after - now.now;
    const name = "The certificate of network " + certificate.network + " (" + certificate.name + ")";
    if (left <= 0) bad(name + " has expired.");
    else if (left < 14 * DAY) warn(name + " expires in " + span(left) + ".");
  }
  for (const pipeline of now.pipelines) {
    const inMinute = (of) => { const grown = growth((answer) => { const found = find(answer, pipeline); return found ? of(found) : 0; }); return grown ? grown.by : 0; };
    const requests = inMinute((one) => sum(one.codes));
    const refused = inMinute((one) => sum(one.refusals));
    if (requests < 20 || refused / requests < 0.9) continue;
    const [reason] = Object.keys(pipeline.refusals).sort((a, b) => inMinute((one) => one.refusals[b] || 0) - inMinute((one) => one.refusals[a] || 0));
    bad("Pipeline " + pipeline.name + " refused or failed " + percent(refused / requests) + " of the last minute's " + number(requests) + " requests, mostly " + reason + ".");
  }
  const all = growth((answer) => everything(answer).reduce((total, one) => total + sum(one.codes), 0));
  const failed = growth((answer) => everything(answer).reduce((total, one) => total + codesOf(one, "5"), 0));
  if (failed && failed.by >= 3 && failed.by / all.by >= 0.05) {
    bad(percent(failed.by / all.by) + " of the last minute's requests were answered with 5xx.");
  }
  const dropped = growth((answer) => answer.log.dropped);
  if (dropped && dropped.by > 0) warn(number(dropped.by) + " log records were dropped in the last minute.");
  const lost = growth(lostSpans);
  if (lost && lost.by > 0) warn(some(lost.by, "span") + " did not reach the receiver of traces in the last minute.");
  const files = now.process;
  if (files.max_files && files.open_files > 0.8 * files.max_files) warn(number(files.open_files) + " of " + number(files.max_files) + " file descriptors are in use.");
  found.sort((a, b) => (a[0] === b[0] ? 0 : a[0] === "bad" ? -1 : 1));
  return found;
}

function backends(answer) {
  const all = new Map();
  for (const pipeline of answer.pipelines) for (const backend of pipeline.backends) all.set(backend.name, backend);
  return [...all.values()];
}

const lostSpans = (answer) => (answer.spans ? answer.spans.dropped + answer.spans.failed : 0);

// One that an operator has drained may well be stopped.
const isOut = (upstream) => !upstream.drained && (upstream.state === "unhealthy" || upstream.state === "ejected");

// ---- words and numbers

const number = (value) => Math.round(value).toLocaleString("en-US");
const times = (count) => (count === 1 ? "once" : number(count) + " times");
const some = (count, what) => number(count) + " " + what + (count === 1 ? "" : "s");
const percent = (part) => (part > 0 && part < 0.0995 ? (part * 100).toFixed(1) : Math.round(part * 100)) + " %";
const rate = (value) => (value === 0 || value >= 99.5 ? number(value) : value >= 9.95 ? value.toFixed(0) : value >= 0.095 ? value.toFixed(1) : value.toFixed(2));
const firstLine = (text) => text.split("\n")[0];
const mebibytes = (bytes) => number(bytes / 1048576) + " MiB";
const two = (value) => String(value).padStart(2, "0");

function clock(seconds) {
  const at = new Date(seconds * 1000);
  const day = at.getFullYear() + "-" + two(at.getMonth() + 1) + "-" + two(at.getDate());
  return day + " " + two(at.getHours()) + ":" + two(at.getMinutes()) + ":" + two(at.getSeconds()) + " " + zone(at);
}

// The browser's time zone at a moment: UTC, UTC+1, UTC-3:30.
function zone(at) {
  const minutes = -at.getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return "UTC" + (minutes < 0 ? "-" : "+") + hours + (rest ? ":" + two(rest) : "");
}

function span(seconds) {
  const [s, m, h, d] = [seconds, seconds / 60, seconds / 3600, seconds / DAY].map(Math.floor);
  if (s < 60) return Math.max(0, s) + " s";
  if (m < 60) return m + " min";
  if (h < 24) return h + " h" + (m % 60 ? " " + (m % 60) + " min" : "");
  return d + " d" + (h % 24 ? " " + (h % 24) + " h" : "");
}

function latency(seconds) {
  if (seconds === null) return ["–", ""];
  if (seconds === Infinity) return ["> 30", "s"];
  if (seconds < 0.00995) return [(seconds * 1000).toFixed(1), "ms"];
  if (seconds < 1) return [(seconds * 1000).toFixed(0), "ms"];
  return [seconds.toFixed(seconds < 10 ? 1 : 0), "s"];
}

// ---- drawing

// An element: its name with classes ("td.n"), attributes, children (text or elements).
function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return element;
}

function line(points, alarm) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", alarm ? "line alarm" : "line");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (points.length < 2) return svg;
  const top = Math.max(...points.map(([, value]) => value)) || 1;
  const end = points[points.length - 1][0];
  const at = points.map(([time, value]) => {
    const x = 100 - (end - time) * (100 / KEPT);
    return x.toFixed(2) + "," + (23 - (value / top) * 21).toFixed(2);
  });
  const area = document.createElementNS(svg.namespaceURI, "path");
  area.setAttribute("d", "M" + at[0].split(",")[0] + ",24 L" + at.join(" L") + " L100,24 Z");
  const stroke = document.createElementNS(svg.namespaceURI, "polyline");
  stroke.setAttribute("points", at.join(" "));
  svg.append(area, stroke);
  return svg;
}

function draw() {
  const late = lastAnswer !== null && Date.now() - lastAnswer > 3 * EVERY;
  const now = history[history.length - 1];
  document.body.classList.toggle("stale", late);
  $("pulse").className = "pulse " + (now ? (late ? "lost" : "live") : "");
  $("pulse").textContent = now ? (late ? "no answer for " + span((Date.now() - lastAnswer) / 1000) : "live, " + clock(now.now)) : (lastAnswer === null && $("ask").hidden ? "no answer yet" : "waiting");
  // Whoever is marking text to copy it keeps it.
  if (!now || !getSelection().isCollapsed) return;
  for (const id of ["verdict", "tiles", "sections"]) $(id).hidden = false;
  document.title = now.id + " – harmony-edge";
  $("id").textContent = now.id;
  $("about").textContent = "version " + now.version + ", up " + span(now.now - now.started);
  drawVerdict(now);
  drawTiles(now);
  $("sections").replaceChildren(
    pipelineSection(now),
    el("div.pair", {}, refusalSection(now), upstreamSection(now)),
    ...shadowSection(now),
    issuerSection(now), keySection(now),
    el("div.pair", {}, configSection(now), cloudSection(now)),
  );
}

function drawVerdict(now) {
  const wrong = problems(now);
  const worst = wrong.length > 0 ? wrong[0][0] : "good";
  const open = now.pipelines.filter((pipeline) => pipeline.open).length;
  const summary = some(now.pipelines.length, "pipeline") + (open ? ", " + open + " of them open" : "") + ", " + some(now.key_sets.length, "key set")
    + ", configuration " + now.config.generation + " in service for " + span(now.now - now.config.last_reload) + ".";
  const title = worst === "good" ? "All well" : wrong.length === 1 ? "One thing needs you" : wrong.length + " things need you";
  $("verdict").className = "verdict " + worst;
  $("verdict").replaceChildren(
    el("strong", {}, title),
    wrong.length > 0 ? el("ul", {}, wrong.map(([level, text]) => el("li." + level, {}, text))) : el("p", {}, summary),
  );
}

function drawTiles(now) {
  const all = everything(now);
  const total = (of) => (answer) => everything(answer).reduce((so, one) => so + of(one), 0);
  const tile = (name, value, unit, points, alarm) => el("div.tile", {},
    el("div.name", {}, name), el("div.value" + (alarm ? ".bad" : ""), {}, value, " ", el("small", {}, unit)), line(points, alarm));
  const shown = (of) => { const grown = growth(of); return grown ? rate(grown.rate) : "–"; };
  const requests = total((one) => sum(one.codes));
  const failed = total((one) => codesOf(one, "5"));
  const refused = total((one) => sum(one.refusals));
  const [p99, unit] = latency(quantile(0.99, all));
  const failing = growth(failed);
  const streams = everything(now).reduce((so, one) => so + one.streams.open, 0);
  $("tiles").replaceChildren(
    tile("Requests", shown(requests), "per second", steps(requests)),
    tile("Refused or failed", shown(refused), "per second", steps(refused)),
    tile("Answered with 5xx", shown(failed), "per second", steps(failed), failing && failing.by > 0),
    tile("p99", p99, unit, slowest(all)),
    tile("In flight", number(now.in_flight), streams > 0 ? "requests, " + number(streams) + " end with their credential" : "requests", history.map((answer) => [answer.now, answer.in_flight])),
  );
}

// Sections that the reader has folded, or unfolded, stay so. On a phone only traffic is unfolded.
const folded = new Map();
const phone = matchMedia("(max-width: 860px)");
const first = ["Pipelines and routes", "Refused or failed, by reason", "Upstreams"];

function section(title, ...content) {
  const block = el("details.block", {}, el("summary", {}, el("h2", {}, title)), el("div.card", { tabindex: "0", role: "group", "aria-label": title }, content));
  block.open = folded.has(title) ? !folded.get(title) : !phone.matches || first.includes(title);
  block.firstChild.addEventListener("click", () => folded.set(title, block.open));
  return block;
}

// `columns`: [heading, classes]; `rows`: arrays of cell contents.
function table(columns, rows, none) {
  if (rows.length === 0) return el("div.none", {}, none);
  const head = el("thead", {}, el("tr", {}, columns.map(([name, kind]) => el("th" + (kind.includes("n") ? ".n" : ""), { scope: "col" }, name))));
  const cell = (content, index) => {
    const [name, kind] = columns[index];
    const full = kind.includes("f");
    const classes = [...kind].map((letter) => (letter === "f" ? ".full" : letter === "w" ? ".wide" : "." + letter)).join("");
    return el("td" + classes, { "data-label": kind.includes("t") ? "" : name }, full && content !== "" ? el("div", {}, content) : content);
  };
  return el("table", {}, head, el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell)))));
}

function classes(pipeline) {
  const digits = ["2", "3", "4", "5"].map((digit) => [digit, codesOf(pipeline, digit)]).filter(([, count]) => count > 0);
  if (digits.length === 0) return el("span.dim", {}, "none yet");
  const bar = el("div.codes", {});
  for (const [digit, count] of digits) {
    const part = el("i.c" + digit, {});
    part.style.flexGrow = String(count);
    bar.append(part);
  }
  return [bar, el("div.sub", {}, digits.flatMap(([digit, count]) => [el("span", {}, digit + "xx " + number(count)), " "]))];
}

function place(endpoint, networks, several) {
  const hosts = endpoint.hosts.length > 0 ? endpoint.hosts : ["*"];
  const methods = endpoint.methods.length > 0 ? endpoint.methods.join(", ") + " " : "";
  return hosts.map((host) => el("div", {}, el("code", {}, methods + (host === "*" ? "" : host) + endpoint.path_prefix), several ? el("span.sub", {}, " on " + networks.join(", ")) : null));
}

function chain(pipeline) {
  const pills = pipeline.steps.map((step) => el("span.pill", { title: step.type }, step.name + (step.optional ? "?" : "") + (step.enforce ? (step.rules_in_shadow.length > 0 ? " (rules in shadow: " + step.rules_in_shadow.join(", ") + ")" : "") : " (shadow)")));
  return pipeline.open ? [el("span.pill.open", { title: "No step authenticates." }, "OPEN"), ...pills] : pills;
}

function pipelineSection(now) {
  const several = new Set(now.pipelines.flatMap((pipeline) => pipeline.networks)).size > 1;
  const row = (pipeline) => {
    const count = (answer) => { const found = find(answer, pipeline); return found ? sum(found.codes) : 0; };
    const grown = growth(count);
    const named = pipeline.name !== undefined;
    const time = (q) => { const [value, unit] = latency(quantile(q, [pipeline])); return value + " " + unit; };
    return [
      named ? [el("div.name", {}, pipeline.name), pipeline.description ? el("div.sub", {}, pipeline.description) : null] : el("span.dim", {}, "no pipeline matched"),
      named ? pipeline.endpoints.flatMap((endpoint) => place(endpoint, pipeline.networks, several)) : "",
      named ? chain(pipeline) : "",
      named ? (pipeline.backends.length > 0 ? pipeline.backends.map((backend) => backend.name).join(", ") : el("span.dim", {}, "answers itself")) : "",
      [grown ? rate(grown.rate) : "–"],
      line(steps(count)),
      classes(pipeline),
      time(0.5),
      time(0.99),
    ];
  };
  const rows = now.pipelines.map(row);
  if (sum(now.unmatched.codes) > 0) rows.push(row(now.unmatched));
  return section("Pipelines and routes", table(
    [["Pipeline", "ftp"], ["Route", "fr"], ["Steps", "fs"], ["To", "f"], ["Per second", "n"], ["Two minutes", "h"], ["Answers", "f"], ["p50", "n"], ["p99", "n"]],
    rows, "No pipeline is configured."));
}

// Where there are steps or rules with `enforce = false`.
function shadowSection(now) {
  const rows = [];
  for (const pipeline of now.pipelines) {
    for (const [step, reasons] of Object.entries(pipeline.shadow_denials)) {
      const row = (shown, of, total) => {
        const grown = growth((answer) => { const found = find(answer, pipeline); return found ? of(found.shadow_denials[step] || {}) : 0; });
        rows.push([el("code", {}, shown), step, pipeline.name, grown ? number(grown.by) : "–", number(total)]);
      };
      for (const [reason, count] of Object.entries(reasons)) row(reason, (found) => found[reason] || 0, count);
      if (Object.keys(reasons).length === 0) row("nothing", sum, 0);
    }
  }
  if (rows.length === 0) return [];
  return [section("In shadow: what would be refused", table(
    [["Reason", "t"], ["Step", ""], ["Pipeline", ""], ["Last minute", "n"], ["Since start", "n"]], rows, ""))];
}

function refusalSection(now) {
  const all = [];
  for (const pipeline of everything(now)) {
    for (const [reason, count] of Object.entries(pipeline.refusals)) {
      const grown = growth((answer) => { const found = find(answer, pipeline); return found ? found.refusals[reason] || 0 : 0; });
      all.push({ pipeline: pipeline.name, reason, count, minute: grown ? grown.by : null });
    }
  }
  all.sort((a, b) => (b.minute || 0) - (a.minute || 0) || b.count - a.count);
  const most = Math.max(1, ...all.map((one) => one.count));
  const rows = all.slice(0, 12).map((one) => {
    const bar = el("span.bar", {});
    bar.style.width = (100 * one.count) / most + "%";
    return [el("code", {}, one.reason), one.pipeline === undefined ? el("span.dim", {}, "none matched") : one.pipeline, one.minute === null ? "–" : number(one.minute), number(one.count), bar];
  });
  return section("Refused or failed, by reason", table(
    [["Reason", "t"], ["Pipeline", ""], ["Last minute", "n"], ["Since start", "n"], ["Share", "fw"]], rows, "Nothing was refused since the start."));
}

function upstreamSection(now) {
  const rows = backends(now).map((backend) => {
    const failures = Object.entries(backend.failures).map(([kind, count]) => kind + " " + number(count)).join(", ");
    const dim = (words) => el("span.dim", {}, words);
    const one = (upstream) => {
      if (upstream.addresses.length === 0) return el("span.pill.bad", {}, "not resolved");
      const place = upstream.url.replace(/^https?:\/\//, "");
      const state = isOut(upstream) ? "bad" : upstream.drained ? "warn" : upstream.state === "healthy" ? "good" : "dim";
      return el("span.pill." + state, {}, place + (weighted ? " weight " + number(upstream.weight) : "") + " " + (upstream.drained ? "drained" : upstream.state));
    };
    const weighted = backend.upstreams.some((upstream) => upstream.weight !== backend.upstreams[0].weight);
    const state = backend.addresses === null ? dim("in the gateway") : [
      ...backend.upstreams.map(one),
      backend.upstreams.length === 1 && backend.addresses.length > 0 ? el("div.sub", {}, backend.addresses.join(", ")) : null,
    ];
    const counted = (upstream) => {
      const found = (answer) => backends(answer).flatMap((other) => (other.name === backend.name ? other.upstreams : [])).find((other) => other.url === upstream.url);
      const grown = growth((answer) => { const same = found(answer); return same ? same.requests : 0; });
      return el("div", {}, (grown ? number(grown.by) : "–") + " / " + number(upstream.requests) + (upstream.in_flight > 0 ? ", " + number(upstream.in_flight) + " in flight" : ""));
    };
    return [
      [el("div.name", {}, backend.name), backend.target === "echo" ? el("span.sub", {}, "echo") : backend.upstreams.length === 1 ? el("code", {}, backend.target) : null],
      state,
      backend.upstreams.map(counted),
      failures ? el("span.warn", {}, failures) : el("span.dim", {}, "none"),
    ];
  });
  return section("Upstreams", table([["Backend", "ftu"], ["Upstreams", "f"], ["Last minute / since start", "n"], ["Failures since start", ""]], rows, "No pipeline has an upstream."));
}

function keySection(now) {
  const rows = now.key_sets.map((set) => [
    [el("code", {}, set.url), set.pipelines.length > 0 ? el("div.sub", {}, set.pipelines.join(", ")) : null],
    set.keys === 0 ? el("span.bad", {}, "0") : number(set.keys),
    set.age_secs === null ? "–" : span(set.age_secs),
    number(set.fetches),
    set.fetch_failures > 0 ? el("span.warn", {}, number(set.fetch_failures)) : "0",
    set.last_error ? el("span.bad", {}, set.last_error) : el("span.good", {}, "good"),
  ]);
  return section("Key sets", table(
    [["Fetched from, for", "ftu"], ["Keys", "n"], ["Age", "n"], ["Fetches", "n"], ["Failed", "n"], ["Last fetch", "f"]], rows, "No step fetches a key set."));
}

function issuerSection(now) {
  if (now.issuers.length === 0) return "";
  const rows = now.issuers.map((issuer) => [
    issuer.issuer,
    el("code", {}, issuer.document),
    [issuer.jwks_uri, issuer.introspection_endpoint].filter(Boolean).map((url) => el("div", {}, el("code", {}, url))),
    issuer.age_secs === null ? "–" : span(issuer.age_secs),
    issuer.fetch_failures > 0 ? el("span.warn", {}, number(issuer.fetch_failures)) : "0",
    issuer.last_error ? el("span.bad", {}, issuer.last_error) : el("span.good", {}, "good"),
  ]);
  return section("Issuers", table(
    [["Issuer", "ftu"], ["Document", "ftu"], ["Keys and introspection", "ftu"], ["Age", "n"], ["Failed", "n"], ["Last fetch", "f"]], rows, ""));
}

function facts(pairs) {
  return el("dl", {}, pairs.filter(Boolean).flatMap(([name, ...value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function configSection(now) {
  const config = now.config;
  const reloads = config.reloads;
  return section("Configuration and process", facts([
    ["Generation", number(config.generation) + ", from " + config.source + ", in service since " + clock(config.last_reload)],
    ["Reloads", some(reloads.reloaded, "change") + ", " + number(reloads.unchanged) + " without, ", reloads.refused > 0 ? el("span.warn", {}, number(reloads.refused) + " refused") : "none refused"],
    ["Last error", config.last_error ? el("pre.bad", {}, clock(config.last_try) + "\n" + config.last_error) : el("span.good", {}, "none")],
    ["Fingerprint", el("code", {}, config.fingerprint.slice(0, 16))],
    ["Log", now.log.dropped > 0 ? el("span.warn", {}, some(now.log.dropped, "record") + " dropped since start") : "nothing dropped"],
    now.spans && ["Spans", number(now.spans.exported) + " exported, ", lostSpans(now) > 0 ? el("span.warn", {}, number(now.spans.dropped) + " dropped, " + number(now.spans.failed) + " not taken") : "none lost"],
    ["Process", (now.process.resident_bytes === null ? "" : mebibytes(now.process.resident_bytes) + " resident, ") + cpu() + (now.process.open_files === null ? "" : ", " + number(now.process.open_files) + " open files")],
  ]));
}

// Since the page was opened, at most; the history before that does not tell it.
function cpu() {
  const own = history.filter((answer) => answer.process);
  const [first, last] = [own[0], own[own.length - 1]];
  const seconds = last.now - first.now;
  return (seconds > 0 ? percent((last.process.cpu_seconds - first.process.cpu_seconds) / seconds) : "–") + " of a core";
}

function cloudSection(now) {
  const runbeam = now.runbeam;
  const tokens = now.token_cache;
  const lookups = tokens.hits + tokens.misses;
  const expiry = (at) => {
    const left = at - now.now;
    const kind = left <= 0 ? "bad" : left < 5 * DAY ? "warn" : "good";
    return el("span." + kind, {}, left <= 0 ? "expired " + clock(at) : "in " + span(left) + ", " + clock(at));
  };
  const pairs = [["Runbeam Cloud", runbeam ? runbeam.state : el("span.dim", {}, "off")]];
  if (runbeam) {
    pairs.push(["Machine token", runbeam.token_expires_at === null ? el("span.dim", {}, "no expiry known") : expiry(runbeam.token_expires_at)]);
    if (runbeam.gateway_id) pairs.push(["Gateway", el("code", {}, runbeam.gateway_id)]);
    pairs.push(["Last poll", (runbeam.last_poll === null ? "none yet" : clock(runbeam.last_poll)) + (runbeam.polls_failed ? ", " + number(runbeam.polls_failed) + " failed" : "")]);
    pairs.push(["Changes", number(runbeam.changes_applied) + " applied, " + number(runbeam.changes_failed) + " failed, " + number(runbeam.changes_pending) + " pending"]);
    if (runbeam.token_store) pairs.push(["Token store", runbeam.token_store]);
    if (runbeam.last_error) pairs.push(["Last error", el("pre.bad", {}, runbeam.last_error)]);
  }
  if (now.certificates.length === 0) pairs.push(["Certificates", el("span.dim", {}, "none served")]);
  for (const one of now.certificates) pairs.push(["Certificate", one.network + " (" + one.name + ") ", expiry(one.not_after)]);
  pairs.push(["Token cache", number(tokens.entries) + " remembered, " + (lookups > 0 ? percent(tokens.hits / lookups) + " of " + number(lookups) + " found" : "not asked yet")]);
  const kept = now.revocations;
  const noticed = kept.notices.reduce((total, one) => total + one.accepted, 0);
  pairs.push(["Revocations", number(kept.entries) + " of " + number(kept.max) + " kept, " + some(kept.denied, "request") + " denied, " + some(noticed, "notice") + " from issuers"]);
  if (now.shared_store) {
    pairs.push(["Shared store", now.shared_store.up ? "up" : "down: " + (now.shared_store.last_error || "not connected yet")]);
  }
  const proofs = now.dpop;
  pairs.push(["DPoP proofs", number(proofs.remembered) + " remembered, " + number(proofs.replayed) + " replayed, " + number(proofs.turned_away) + " without room"]);
  pairs.push(["Rate limits", number(now.rate_limits.keys) + " keys, " + number(now.rate_limits.forgotten) + " forgotten"]);
  pairs.push(["Passwords", number(now.passwords.hashed) + " hashed, " + number(now.passwords.waiting) + " waiting"]);
  return section("Cloud, certificates, credentials", facts(pairs));
}

document.addEventListener("visibilitychange", draw);
tick();
