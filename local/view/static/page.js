// What the pages do besides what their markup says: take files, filter entities, copy, keys. Texts only ever become text.
"use strict";

const find = (selector) => document.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];

const SAID_MILLISECONDS = 6000;
let unsaid = 0;

function say(text) {
  find("#said").textContent = text;
  clearTimeout(unsaid);
  unsaid = setTimeout(() => { find("#said").textContent = ""; }, SAID_MILLISECONDS);
}

// Dropping files ----------------------------------------------------------------------------------------------------

function put(name, file, told) {
  return new Promise((done) => {
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload is
    request.open("PUT", `drop?name=${encodeURIComponent(name)}`);
    request.upload.onprogress = (event) => told(`${Math.floor((100 * event.loaded) / event.total)} %`);
    request.onload = () => done(request.status === 201 ? "" : request.responseText);
    request.onerror = () => done("the page's server does not respond: check that it is still running");
    request.send(file);
  });
}

async function upload(files) {
  const largest = Number(find("#drop").dataset.largest);
  let refused = 0;
  for (const [name, file] of files) {
    const line = document.createElement("li");
    const tell = (text) => { line.textContent = `${name}: ${text}`; };
    tell("uploading");
    find("#uploads").append(line);
    const problem = file.size > largest
      ? `has ${file.size.toLocaleString("en")} bytes, more than NER_MAX_BLOB_BYTES allows (${largest.toLocaleString("en")})`
      : await put(name, file, tell);
    if (problem) {
      refused += 1;
      line.className = "refused";
      tell(problem);
    } else {
      line.remove();
      htmx.trigger(document.body, "dropped");
    }
  }
  say(`${files.length - refused} of ${files.length} uploaded.`);
}

// A folder's files are called as they lie in it.
async function filesWithin(entry, folder = "") {
  if (entry.isFile) {
    return [[folder + entry.name, await new Promise((done, failed) => entry.file(done, failed))]];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const each of some) found.push(...await filesWithin(each, `${folder}${entry.name}/`));
  }
}

function takeFiles() {
  const place = find("#drop");
  if (!place) return;
  const pick = find("#pick");
  pick.addEventListener("change", async () => {
    await upload([...pick.files].map((file) => [file.webkitRelativePath || file.name, file]));
    pick.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    addEventListener(kind, (event) => { event.preventDefault(); place.classList.add("over"); });
  }
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) place.classList.remove("over"); });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    place.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const files = entries.length
      ? (await Promise.all(entries.map((entry) => filesWithin(entry)))).flat()
      : [...event.dataTransfer.files].map((file) => [file.name, file]);
    await upload(files);
  });
}

// Entities ----------------------------------------------------------------------------------------------------------

// A piece of text that several entities cover takes the colour of the first one that is shown.
function filter(within = document) {
  const form = find("#shown");
  if (!form) return;
  const shown = new Set(new FormData(form).getAll("category"));
  const least = Number(form.elements.confidence.value);
  form.querySelector("output").textContent = least.toFixed(2);
  for (const mark of findAll("mark", within)) {
    const confidences = JSON.parse(mark.dataset.confidences);
    const seen = JSON.parse(mark.dataset.categories)
      .map((category, number) => (shown.has(category) && confidences[number] >= least ? number : -1))
      .filter((number) => number >= 0);
    mark.classList.toggle("off", !seen.length);
    mark.classList.toggle("several", seen.length > 1);
    mark.classList.remove(...[...mark.classList].filter((name) => /^c\d+$/.test(name)));
    mark.classList.add(`c${JSON.parse(mark.dataset.colours)[seen[0] ?? 0]}`);
  }
}

function go(step) {
  const marks = findAll("mark.first:not(.off)");
  if (!marks.length) return;
  const at = marks.findIndex((mark) => mark.classList.contains("current"));
  const next = marks[at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length];
  if (at >= 0) marks[at].classList.remove("current");
  next.classList.add("current");
  next.scrollIntoView({ block: "center" });
  say(`${next.textContent}: ${next.title}`);
}

function filterEntities() {
  const form = find("#shown");
  if (!form) return;
  form.addEventListener("input", () => filter());
  for (const [button, checked] of [["#all", true], ["#none", false]]) {
    find(button).addEventListener("click", () => {
      for (const box of findAll("[name=category]", form)) box.checked = checked;
      filter();
    });
  }
}

// -------------------------------------------------------------------------------------------------------------------

document.addEventListener("DOMContentLoaded", () => { takeFiles(); filterEntities(); });

// The text of a file that has ended meanwhile, or a further part of it, has just come.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "main") filterEntities();
  if (!find("#files")) filter();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const answer = await fetch(find("#json a[download]").href);
  await navigator.clipboard.writeText(await answer.text());
  say("Copied.");
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=search], select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  const search = find("#filters input[type=search]");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "Escape" && find("#back")) {
    find("#back").click();
  } else if (find("#text") && (event.key === "n" || event.key === "p")) {
    go(event.key === "n" ? 1 : -1);
  }
});
