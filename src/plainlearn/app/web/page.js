"use strict";
// The page's only script. Whatever comes from the server or from a file's name is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const make = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
};
const percent = (share) => {
  const value = 100 * share;
  return value >= 99.95 && share < 1 ? "> 99.9%" : value > 0 && value < 0.05 ? "< 0.1%" : value.toFixed(1) + "%";
};
const KEPT = 24;
let info = null;
let asked = []; // the newest first: {name, url, answer, problem, took}
let shown = null;

// ---- the server

async function call(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { Authorization: "Bearer " + token } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (response.status === 401) {
    const problem = token ? "That is not the token." : "";
    sessionStorage.removeItem("token");
    ask(problem);
  }
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}

function ask(problem) {
  $("door").hidden = false;
  $("desk").hidden = $("foot").hidden = true;
  $("door-problem").textContent = problem;
  $("token").focus();
}

async function begin() {
  try {
    info = await call("/info");
  } catch (error) {
    if ($("door").hidden) {
      $("desk").hidden = false;
      complain(error.message);
    }
    return;
  }
  $("door").hidden = true;
  $("desk").hidden = $("foot").hidden = false;
  document.title = info.name + " · plainlearn";
  $("name").textContent = info.name;
  $("about").textContent = info.card.about || "Drop an image, and see what the model makes of it.";
  $("labels").replaceChildren(...info.labels.map((label) => make("span", String(label))));
  $("curl").textContent = `curl${sessionStorage.getItem("token") ? " -H 'Authorization: Bearer TOKEN'" : ""} -F file=@cat.jpg ${location.origin}/predict`;
  const facts = [["Network", String(info.card.model).replace(/^\w+:/, "")], ["Labels", info.labels.length]];
  for (const metric of info.card.metrics || []) {
    const between = metric.low == null ? "" : ` (${metric.low.toFixed(2)} to ${metric.high.toFixed(2)})`;
    facts.push(["Validated " + metric.name, metric.value.toFixed(3) + between]);
  }
  const data = info.card.data || {};
  if (data.train) facts.push(["Learned from", data.train.toLocaleString() + " images"]);
  if (info.card.licence) facts.push(["Licence of the weights", info.card.licence]);
  facts.push(["File", info.model]);
  $("facts").replaceChildren(...facts.map(([name, value]) => {
    const fact = make("div");
    fact.append(make("dt", name), make("dd", String(value ?? "not told")));
    return fact;
  }));
}

// ---- asking

async function take(files) {
  const images = [...files].filter((file) => file.size !== undefined);
  if (!images.length) return complain("There was no image in that.");
  await Promise.all(images.map(predict));
}

async function predict(file) {
  const entry = { name: file.name || "pasted image", url: URL.createObjectURL(file) };
  asked.unshift(entry);
  for (const old of asked.splice(KEPT)) URL.revokeObjectURL(old.url);
  show(entry);
  if (info && file.size > info.max_bytes) {
    entry.problem = `The image has ${file.size.toLocaleString()} bytes; the server takes ${info.max_bytes.toLocaleString()}.`;
  } else {
    const start = performance.now();
    try {
      const body = await file.arrayBuffer(); // a file that changes on the way would break the request
      const answers = await call("/predict?top=5", { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
      entry.answer = answers.predictions[0];
      entry.took = performance.now() - start;
    } catch (error) {
      entry.problem = error.message;
    }
  }
  if (shown === entry) show(entry);
  else strip();
}

// ---- showing

function show(entry) {
  shown = entry;
  const preview = $("preview");
  preview.onload = () => {
    preview.classList.toggle("tiny", Math.max(preview.naturalWidth, preview.naturalHeight) <= 64);
    preview.hidden = false;
    $("invite").hidden = true;
  };
  preview.onerror = () => {
    preview.hidden = true;
    $("invite").hidden = false;
  };
  if (preview.src !== entry.url) preview.src = entry.url;
  preview.alt = entry.name;
  $("drop").classList.add("filled");
  $("waiting").hidden = true;
  $("problem").hidden = !entry.problem;
  $("problem").textContent = entry.problem || "";
  $("answer").classList.toggle("busy", !entry.answer && !entry.problem);
  $("found").hidden = Boolean(entry.problem) || (!entry.answer && $("found").hidden);
  if (entry.answer) answer(entry);
  strip();
}

function answer({ name, answer, took }) {
  $("found").hidden = false;
  $("file-name").textContent = name;
  $("label").textContent = said(answer.label);
  $("sure").textContent = answer.probability == null ? "" : percent(answer.probability);
  const old = [...$("bars").querySelectorAll("i")].map((bar) => bar.style.width);
  const bars = answer.probabilities.map(({ label, probability }, place) => {
    const row = make("li"), track = make("div", undefined, "track"), bar = make("i");
    bar.style.width = old[place] || "0%";
    requestAnimationFrame(() => requestAnimationFrame(() => { bar.style.width = 100 * probability + "%"; }));
    track.append(bar);
    row.append(make("span", String(label)), make("em", percent(probability)), track);
    return row;
  });
  $("bars").replaceChildren(...bars);
  const unlike = answer.unlike;
  $("unlike").hidden = !unlike;
  if (unlike) {
    const whole = Math.max(1.4 * unlike.limit, unlike.score);
    $("unlike").classList.toggle("strange", unlike.strange);
    $("score").style.left = 100 * unlike.score / whole + "%";
    $("limit").style.left = 100 * unlike.limit / whole + "%";
    $("unlike-text").textContent = unlike.strange
      ? "Unlike the images that it learned from. Do not rely on this answer."
      : "Like the images that it learned from.";
    $("scale").title = `Unlikeness ${unlike.score}; strange above ${unlike.limit}`;
  }
  $("took").textContent = `Answered in ${Math.round(took)} ms`;
}

function said(label) {
  if (!Array.isArray(label)) return String(label);
  const flat = label.flat(Infinity);
  return flat.length ? flat.slice(0, 12).join(", ") + (flat.length > 12 ? ", …" : "") : "none of the labels";
}

function strip() {
  $("strip").hidden = asked.length < 2;
  $("strip").replaceChildren(...asked.map((entry) => {
    const item = make("li"), button = make("button"), image = make("img");
    const what = entry.answer ? said(entry.answer.label) : entry.problem ? "no answer" : "asking";
    button.type = "button";
    button.title = `${entry.name}: ${what}`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-current", String(entry === shown));
    button.classList.toggle("strange", Boolean(entry.answer?.unlike?.strange));
    button.classList.toggle("failed", Boolean(entry.problem));
    image.src = entry.url;
    image.alt = "";
    image.onerror = () => image.replaceWith(make("span", entry.name.slice(-8)));
    button.append(image);
    button.onclick = () => show(entry);
    item.append(button);
    return item;
  }));
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = false;
}

// ---- dropping, choosing, pasting

$("file").addEventListener("change", (event) => {
  if (event.target.files.length) take(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (!$("desk").hidden) take(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (!$("desk").hidden && event.clipboardData.files.length) take(event.clipboardData.files);
});
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  $("token").value = "";
  begin();
});
begin();
