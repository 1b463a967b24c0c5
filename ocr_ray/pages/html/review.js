"use strict";
const element = id => document.getElementById(id);
const work = element("work"), field = element("reading");
const rows = [...document.querySelectorAll("tr[data-line]")]
  .sort((a, b) => a.dataset.confidence - b.dataset.confidence);
const place = `ocr_ray review ${work.dataset.dataset}`;
const decided = load();  // by line id: {status, text}
let current = Math.max(0, rows.findIndex(row => !decided[row.dataset.line]));

function load() {
  try { return JSON.parse(localStorage.getItem(place)) || {}; } catch { return {}; }
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify(decided));
  } catch {
    element("about").textContent = "This browser keeps nothing: download corrections.json before you leave.";
  }
}

function tidy(text) { return text.normalize("NFC").trim().replace(/\s+/g, " "); }

function mark(row) {
  const decision = decided[row.dataset.line];
  row.classList.toggle("accepted", decision?.status === "accepted");
  row.classList.toggle("corrected", decision?.status === "corrected");
  row.querySelector(".text").textContent = decision && work.dataset.column === "text" ? decision.text : row.dataset.shown;
}

function show() {
  const done = rows.filter(row => decided[row.dataset.line]).length;
  element("progress").textContent = `${done} of ${rows.length} lines decided` +
    (done === rows.length ? ": download the corrections" : "");
  element("bar").max = rows.length || 1;
  element("bar").value = done;
  document.querySelectorAll(".current").forEach(each => each.classList.remove("current"));
  const row = rows[current];
  if (!row) return;
  const decision = decided[row.dataset.line], image = row.querySelector("img");
  element("image").src = image.src;
  element("image").style.cssText = image.style.cssText;
  element("image").style.width = `calc(2 * ${image.style.width})`;
  field.value = decision ? decision.text : row.dataset.text;
  field.setCustomValidity("");
  const flags = row.querySelector(".flags");
  element("about").textContent = `${row.dataset.line}, confidence ${(100 * row.dataset.confidence).toFixed(1)} %` +
    (flags ? `, ${flags.textContent}` : "") + (decision ? `, ${decision.status}` : "");
  row.classList.add("current");
  row.closest("section").querySelector(`g[data-box="${row.dataset.box}"]`)?.classList.add("current");
  field.focus({ preventScroll: true });
}

function go(step) {
  current = Math.min(Math.max(current + step, 0), rows.length - 1);
  show();
}

function accept() {
  const row = rows[current];
  if (!row) return;
  const text = tidy(field.value), isPrinted = work.dataset.column === "text";
  const problem = !text ? "The text is empty: skip the line instead."
    : isPrinted && text.includes("\\") ? "A printed text has no backslash." : "";
  field.setCustomValidity(problem);
  if (problem) { field.reportValidity(); return; }
  decided[row.dataset.line] = { status: text === tidy(row.dataset.text) ? "accepted" : "corrected", text };
  keep();
  mark(row);
  const next = rows.findIndex((each, index) => index > current && !decided[each.dataset.line]);
  const first = rows.findIndex(each => !decided[each.dataset.line]);
  current = next >= 0 ? next : first >= 0 ? first : current;
  show();
}

function download(name, parts, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function listCorrections() {
  const lines = Object.fromEntries(rows.map(row => row.dataset.line).filter(id => decided[id]).map(id => [id, decided[id]]));
  return { dataset: work.dataset.dataset, label_column: work.dataset.column, lines };
}

// The label of a page as the job wrote it, with the texts of corrected lines in place of what was read.
function correctLabel(section) {
  const label = JSON.parse(section.dataset.label), info = label.OCR_info[0];
  const entries = info.question_bbox, pieces = {}, next = {};
  for (const row of section.querySelectorAll("tr[data-line]")) {
    const entry = row.dataset.entry, decision = decided[row.dataset.line];
    pieces[entry] ??= entries[entry].text.split("\n");
    const at = pieces[entry].indexOf(row.dataset.markup, next[entry] || 0);
    next[entry] = at + 1;
    if (at >= 0 && decision?.status === "corrected") {
      pieces[entry][at] = work.dataset.column === "text" ? decision.text.replaceAll("$", "\\$") : decision.text;
      entries[entry].text = pieces[entry].join("\n");
    }
  }
  const isText = entry => entry.type === "line" && !["", "None"].includes((entry.text || "").trim());
  const joined = entries.filter(isText).map(entry => entry.text.trim()).join(" ");
  const squeeze = text => text.replace(/\s+/g, "");
  if (squeeze(joined) !== squeeze(info.question_text)) info.question_text = joined;
  return label;
}

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

// A zip without compression: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
function zip(files) {
  const parts = [], directory = [], encoder = new TextEncoder();
  let offset = 0, size = 0;
  for (const [name, text] of files) {
    const path = encoder.encode(name), content = encoder.encode(text);
    const crc = ~content.reduce((sum, byte) => CRC[(sum ^ byte) & 255] ^ (sum >>> 8), ~0) >>> 0;
    const fields = [20, 0x0800, 0, 0, 0x21];  // version, names in UTF-8, stored, 1980-01-01
    const head = pack([["L", 0x04034b50], ...fields.map(value => ["S", value]), ["L", crc], ["L", content.length],
      ["L", content.length], ["S", path.length], ["S", 0]]);
    directory.push(pack([["L", 0x02014b50], ["S", 20], ...fields.map(value => ["S", value]), ["L", crc],
      ["L", content.length], ["L", content.length], ["S", path.length], ["S", 0], ["S", 0], ["S", 0], ["S", 0],
      ["L", 0], ["L", offset]]), path);
    parts.push(head, path, content);
    offset += head.length + path.length + content.length;
    size += 46 + path.length;
  }
  const end = pack([["L", 0x06054b50], ["S", 0], ["S", 0], ["S", files.length], ["S", files.length], ["L", size],
    ["L", offset], ["S", 0]]);
  return [...parts, ...directory, end];
}

function pack(values) {
  const bytes = [];
  for (const [kind, value] of values)
    for (let byte = 0; byte < (kind === "L" ? 4 : 2); byte++) bytes.push((value >>> (8 * byte)) & 255);
  return new Uint8Array(bytes);
}

work.addEventListener("submit", event => { event.preventDefault(); accept(); });
element("skip").addEventListener("click", () => go(1));
element("back").addEventListener("click", () => go(-1));
element("corrections").addEventListener("click", () =>
  download("corrections.json", [JSON.stringify(listCorrections(), null, 1)], "application/json"));
element("labels").addEventListener("click", () => {
  const sections = [...document.querySelectorAll("section[data-label]")];
  const files = sections.map(each => [`${each.dataset.page}.json`, `\ufeff${JSON.stringify(correctLabel(each), null, 2)}`]);
  download("labels.zip", zip(files), "application/zip");
});
field.addEventListener("input", () => field.setCustomValidity(""));
document.addEventListener("keydown", event => {
  if (event.isComposing) return;  // a syllable is being typed
  const step = { Escape: 1, PageDown: 1, PageUp: -1 }[event.key];
  if (step) { event.preventDefault(); go(step); }
});
rows.forEach((row, index) => {
  row.dataset.shown = row.querySelector(".text").textContent;
  row.addEventListener("click", () => { current = index; show(); });
  mark(row);
});
show();
