// The page: pictures are dropped, sent one after another to /api, and shown before and after.
//
// Files and results live in this tab alone; the server keeps neither.

import { zip } from "/zip.js";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const [before, after] = [...stage.querySelectorAll("img")];
const about = await (await fetch("/api")).json();

const SHOWN = "png"; // what results are fetched as first: without loss, and browsers show it
const pictures = [];
let selected = null;
let busy = false;
let saving = false;

// --- What is asked for ---------------------------------------------------------------------------

function wishes() {
  return {
    strength: $("strength").value / 100,
    model: $("model").value,
    history: $("history").value === "said" ? said() : $("history").value,
  };
}

/** The earlier compression as it is told by hand: its quality, and what else is known. */
function said() {
  return ["quality", "grid", "size"]
    .map((name) => [name, $(`said-${name}`).value])
    .filter(([, value]) => value)
    .map((pair) => pair.join("="))
    .join(",");
}

async function ask(path, picture, parameters, options = {}) {
  // Of a damaged file what is there is better than nothing; the words say how much that is.
  const query = new URLSearchParams({ name: picture.file.name, salvage: true, ...parameters });
  let answer;
  try {
    answer = await fetch(`/api/${path}?${query}`, { method: "POST", body: picture.file, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    await picture.file.slice(0, 1).arrayBuffer().catch(() => {
      throw new Error(`${picture.file.name}: can no longer be read; drop it again`);
    });
    throw new Error("the app does not answer; is it still running?");
  }
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

/** The picture as a file, from what was fetched already if there is such a one. */
async function result(picture, asked, format, signal) {
  const parameters = { ...asked, format };
  const key = JSON.stringify(parameters);
  if (!picture.results.has(key)) {
    const ticket = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const watching = setInterval(() => watch(picture, ticket), 300);
    try {
      const answer = await ask("restore", picture, { ...parameters, ticket }, { signal });
      picture.results.set(key, await answer.blob());
    } finally {
      clearInterval(watching);
    }
  }
  return picture.results.get(key);
}

async function watch(picture, ticket) {
  const answer = await fetch(`/api/progress/${ticket}`).catch(() => null); // asking for it tells
  if (!answer?.ok || picture.state !== "working") return;
  picture.progress = await answer.json();
  draw();
}

// --- One picture after another -------------------------------------------------------------------

function add(files) {
  for (const file of files) {
    const url = URL.createObjectURL(file);
    pictures.push({ file, url, thumb: url, results: new Map(), state: "waiting", progress: {} });
  }
  if (!selected && pictures.length) select(pictures[0]);
  work();
}

function remove(picture) {
  picture.leave?.abort();
  pictures.splice(pictures.indexOf(picture), 1);
  URL.revokeObjectURL(picture.url);
  if (picture.shown) URL.revokeObjectURL(picture.shown);
  if (selected === picture) select(pictures[0] ?? null);
  draw();
}

/** Restores what waits, the one that is looked at first. */
async function work() {
  draw();
  if (busy) return;
  busy = true;
  for (let next = waiting(); next; next = waiting()) await restore(next);
  busy = false;
  draw();
}

const waiting = () => [selected, ...pictures].find((each) => each?.state === "waiting");

async function restore(picture) {
  picture.state = "working";
  picture.progress = {};
  picture.leave = new AbortController();
  const { signal } = picture.leave;
  draw();
  try {
    if (picture.file.size > about.megabytes * 1e6) {
      throw new Error(`${picture.file.name}: has more than ${about.megabytes} million bytes, the most that is taken here`);
    }
    const asked = wishes();
    const told = JSON.stringify({ ...asked, strength: asked.strength > 0 }); // how strong is not told
    if (picture.told !== told) {
      picture.facts = await (await ask("inspect", picture, asked, { signal })).json();
      picture.told = told;
      if (picture === selected) show();
    }
    const blob = await result(picture, asked, SHOWN, signal);
    if (picture.state !== "working") return; // other wishes have come in between
    if (picture.shown) URL.revokeObjectURL(picture.shown);
    picture.shown = URL.createObjectURL(blob);
    picture.state = "done";
    $("status").textContent = `${picture.file.name} is restored.`;
  } catch (error) {
    if (error.name === "AbortError") return;
    picture.state = "wrong";
    picture.problem = error.message;
  }
  if (picture === selected) show();
  draw();
}

/** Other wishes: everything is restored again. */
function changed() {
  $("said").hidden = $("said").disabled = $("history").value !== "said";
  if (!$("wishes").reportValidity()) return;
  $("strength-shown").textContent = `${$("strength").value} %`;
  for (const picture of pictures) {
    picture.leave?.abort();
    picture.results.clear();
    picture.state = "waiting";
  }
  work();
}

// --- What is shown -------------------------------------------------------------------------------

function select(picture) {
  selected = picture;
  view.of = null;
  show();
  work();
}

function made(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** What the selected picture is; its two images. */
async function show() {
  if (!selected) return;
  const picture = selected;
  $("title").textContent = picture.file.name;
  $("problem").hidden = picture.state !== "wrong";
  $("problem").textContent = picture.problem ?? "";
  $("found").replaceChildren(...(picture.facts?.words ?? []).map((each) => made("li", { textContent: each })));
  if (before.src !== picture.url) before.src = picture.url;
  if (picture.shown) after.src = picture.shown;
  else after.removeAttribute("src");
  stage.hidden = document.querySelector(".bar").hidden = picture.state === "wrong";
  try {
    await before.decode();
    if (picture.shown) await after.decode();
  } catch {
    if (picture === selected) await decoded(picture);
    return;
  }
  if (picture !== selected) return;
  const focused = picture.shown && picture.focus === undefined;
  if (focused) picture.focus = whereItMatters();
  if (view.of !== picture || focused) look(focused || picture.focus ? "focus" : "fit");
  view.of = picture;
}

/** What browsers cannot decode, such as arithmetic coding, the app can. */
async function decoded(picture) {
  if (picture.plain || picture.state === "wrong") return;
  picture.plain = true;
  try {
    const answer = await ask("restore", picture, { strength: 0, history: "off" });
    const blob = await answer.blob();
    if (!pictures.includes(picture)) return; // it was removed meanwhile
    URL.revokeObjectURL(picture.url);
    picture.url = picture.thumb = URL.createObjectURL(blob);
    if (picture === selected) show();
    draw();
  } catch {
    return; // restoring it tells what is wrong
  }
}

const STATES = {
  waiting: () => "waits",
  working: ({ progress }) => (progress.ahead ? `${progress.ahead} before it` : `${Math.round(100 * (progress.share ?? 0))} %`),
  done: () => "restored",
  wrong: () => "cannot be restored",
};

/** Everything but the images: the list, the progress, the buttons. */
function draw() {
  document.querySelector("main").classList.toggle("busy", pictures.length > 0);
  $("shown").hidden = document.querySelector("aside").hidden = pictures.length === 0;
  const list = $("pictures");
  while (list.children.length > pictures.length) list.lastChild.remove();
  pictures.forEach((picture, index) => {
    if (!list.children[index]) list.append(row());
    const item = list.children[index];
    const [one, away] = item.children;
    const image = one.querySelector("img");
    item.picture = picture;
    item.className = picture.state;
    if (image.src !== picture.thumb) image.src = picture.thumb;
    one.querySelector("b").textContent = picture.file.name;
    one.querySelector("small").textContent = STATES[picture.state](picture);
    one.setAttribute("aria-current", picture === selected);
    away.ariaLabel = `Remove ${picture.file.name}`;
  });
  const working = selected?.state === "working" || selected?.state === "waiting";
  $("work").hidden = !working;
  if (working) {
    const bar = $("work").firstElementChild;
    const { share = 0 } = selected.progress;
    if (share) bar.value = share;
    else bar.removeAttribute("value");
    $("work").lastElementChild.textContent = STATES[selected.state](selected);
  }
  $("download").disabled = saving || selected?.state !== "done";
  const done = pictures.filter(({ state }) => state === "done");
  $("download-all").hidden = pictures.length < 2;
  $("download-all").disabled = saving || busy || done.length === 0;
}

function row() {
  const one = made("button", { type: "button", className: "one" },
    made("img", { alt: "" }), made("span", {}, made("b"), made("small")));
  const away = made("button", { type: "button", className: "away", textContent: "×" });
  const item = made("li", {}, one, away);
  const image = one.querySelector("img"); // hidden while there is nothing that browsers can show
  image.addEventListener("load", () => { image.style.visibility = "visible"; });
  image.addEventListener("error", () => { image.style.visibility = "hidden"; });
  one.addEventListener("click", () => select(item.picture));
  away.addEventListener("click", () => remove(item.picture));
  return item;
}

// --- Looking -------------------------------------------------------------------------------------

// The point of the picture in the stage's middle, and how large a pixel of it is shown.
const view = { x: 0, y: 0, zoom: 1, of: null };
const fit = () => Math.min(stage.clientWidth / before.naturalWidth, stage.clientHeight / before.naturalHeight);

function look(where) {
  const centre = { x: before.naturalWidth / 2, y: before.naturalHeight / 2 };
  if (where === "fit") Object.assign(view, centre, { zoom: fit() });
  else if (where === "focus") Object.assign(view, selected?.focus ?? centre, { zoom: Math.max(2, fit()) });
  else view.zoom = Number(where);
  place();
}

function place() {
  const { naturalWidth: width, naturalHeight: height } = before;
  if (!width) return;
  view.zoom = Math.min(Math.max(view.zoom, Math.min(fit(), 1) / 2), 16);
  const keep = (value, size, room) => {
    const half = room / 2 / view.zoom;
    return 2 * half >= size ? size / 2 : Math.min(Math.max(value, half), size - half);
  };
  view.x = keep(view.x, width, stage.clientWidth);
  view.y = keep(view.y, height, stage.clientHeight);
  const left = stage.clientWidth / 2 - view.x * view.zoom;
  const top = stage.clientHeight / 2 - view.y * view.zoom;
  for (const image of [before, after]) {
    image.hidden = !image.hasAttribute("src");
    image.style.transform = `translate(${left}px, ${top}px) scale(${view.zoom})`;
    image.classList.toggle("large", view.zoom >= 3);
  }
  divide();
}

/** The slider's thumb is 44 pixels wide; its middle is where after begins. */
function divide() {
  const share = $("divide").value / 100;
  const at = 22 + share * (stage.clientWidth - 44);
  $("after").style.clipPath = `inset(0 0 0 ${at}px)`;
  $("tag-before").hidden = at < 90;
  $("tag-after").hidden = !after.hasAttribute("src") || stage.clientWidth - at < 90;
}

/** Where before and after differ most, of a grid of small windows. */
function whereItMatters() {
  const [count, side] = [12, 48];
  const { naturalWidth: width, naturalHeight: height } = before;
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const cut = (image, x, y) => {
    context.drawImage(image, x, y, side, side, 0, 0, side, side);
    return context.getImageData(0, 0, side, side).data;
  };
  let most = -1;
  let found = null;
  for (let row = 0; row < count; row += 1) {
    for (let column = 0; column < count; column += 1) {
      const x = Math.max(0, Math.round(((column + 0.5) / count) * width - side / 2));
      const y = Math.max(0, Math.round(((row + 0.5) / count) * height - side / 2));
      const [old, restored] = [cut(before, x, y), cut(after, x, y)];
      const change = old.reduce((sum, value, index) => sum + Math.abs(value - restored[index]), 0);
      if (change > most) [most, found] = [change, { x: x + side / 2, y: y + side / 2 }];
    }
  }
  return found;
}

function zoomAt(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const old = view.zoom;
  view.zoom = Math.min(Math.max(old * factor, Math.min(fit(), 1) / 2), 16);
  view.x += (x - stage.clientWidth / 2) * (1 / old - 1 / view.zoom);
  view.y += (y - stage.clientHeight / 2) * (1 / old - 1 / view.zoom);
  place();
}

function move(across, down) {
  view.x -= across / view.zoom;
  view.y -= down / view.zoom;
  place();
}

const fingers = new Map();

function drag(event) {
  const last = fingers.get(event.pointerId);
  if (!last) return;
  const box = stage.getBoundingClientRect();
  if (fingers.size === 2) {
    const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const apart = (at) => Math.hypot(at.x - other.x, at.y - other.y);
    const now = { x: event.clientX, y: event.clientY };
    const middle = { x: (now.x + other.x) / 2 - box.left, y: (now.y + other.y) / 2 - box.top };
    zoomAt(apart(now) / Math.max(apart(last), 1), middle.x, middle.y);
  } else {
    move(event.clientX - last.x, event.clientY - last.y);
  }
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
}

// --- Downloads -----------------------------------------------------------------------------------

const named = (picture, format) => picture.file.name.replace(/\.[^.]*$/, "") + about.formats[format];

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  made("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function download(wanted, pack) {
  const asked = wishes();
  const format = $("format").value;
  saving = true;
  draw();
  const files = [];
  const told = []; // of what the format cannot hold; the others are not lost by it
  for (const picture of wanted) {
    $("status").textContent = `${picture.file.name} is written…`;
    try {
      files.push({ name: named(picture, format), blob: await result(picture, asked, format) });
    } catch (error) {
      told.push(error.message);
    }
  }
  try {
    if (files.length) {
      const { blob, name } = pack ? { blob: await zip(files), name: "restored.zip" } : files[0];
      save(blob, name);
      told.unshift(`${name} is downloaded.`);
    }
  } catch (error) {
    told.push(error.message);
  }
  $("status").textContent = told.join(" ");
  saving = false;
  draw();
}

// --- Events --------------------------------------------------------------------------------------

$("model").replaceChildren(...about.models.map((name) => made("option", { value: name, textContent: name })));
$("files").addEventListener("change", ({ target }) => {
  add([...target.files]);
  target.value = "";
});
for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", over);
    if (name === "drop") add([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => add([...event.clipboardData.files]));

$("strength").addEventListener("input", () => {
  $("strength-shown").textContent = `${$("strength").value} %`;
});
$("wishes").addEventListener("change", changed);
$("wishes").addEventListener("submit", (event) => event.preventDefault());
$("download").addEventListener("click", () => download([selected], false));
$("download-all").addEventListener("click", () => download(pictures.filter(({ state }) => state === "done"), true));

$("divide").addEventListener("input", divide);
document.querySelector(".bar").addEventListener("click", ({ target }) => {
  if (target.dataset.zoom) look(target.dataset.zoom);
});
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = stage.getBoundingClientRect();
  zoomAt(2 ** (-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
stage.addEventListener("pointerdown", (event) => {
  if (event.target === $("divide")) return;
  stage.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
});
stage.addEventListener("pointermove", drag);
for (const name of ["pointerup", "pointercancel"]) {
  stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
}
stage.addEventListener("keydown", (event) => {
  if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = 60;
  const does = {
    ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0),
    ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step),
    "+": () => zoomAt(1.5), "=": () => zoomAt(1.5), "-": () => zoomAt(1 / 1.5),
  }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
});
new ResizeObserver(place).observe(stage);
draw();
