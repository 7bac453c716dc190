// The interface's own description, /openapi.json, as a page.

function made(name, text, ...children) {
  const element = document.createElement(name);
  element.textContent = text;
  element.append(...children);
  return element;
}

/** Such as "0 to 1 (usually 1)". */
function range({ enum: words, minimum, maximum, default: usual }) {
  const values = words ? words.join(", ") : minimum === undefined ? "" : `${minimum} to ${maximum}`;
  return usual === undefined ? values : `${values} (usually ${usual})`;
}

const described = await (await fetch("/openapi.json")).json();
const main = document.querySelector("main");
const example = `curl --data-binary @photo.jpg '${location.origin}/api/restore?format=png' -o photo.png`;
main.append(made("p", described.info.description), made("pre", example));
for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, { summary, parameters = [], responses }] of Object.entries(methods)) {
    const rows = parameters.map(({ name, description = "", schema }) => made("tr", "",
      made("td", "", made("code", name)), made("td", description), made("td", range(schema))));
    const answers = Object.entries(responses).map(([status, { description }]) => made("tr", "",
      made("td", status), made("td", description)));
    main.append(made("section", "",
      made("h2", "", made("code", `${method.toUpperCase()} ${path}`)),
      made("p", `${summary}.`),
      ...(rows.length ? [made("table", "", ...rows)] : []),
      made("h3", "Answers"),
      made("table", "", ...answers)));
  }
}
