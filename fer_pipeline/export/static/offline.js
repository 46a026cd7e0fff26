// Stands at the end of offline.js, which begins with `files`: every file that the modules ask for, in base64.
function bytesOf(name) {
  return Uint8Array.from(atob(files[name]), (one) => one.charCodeAt(0));
}

const links = {};

// The address of a module whose imports are such addresses too.
function linkTo(name) {
  links[name] ??= URL.createObjectURL(new Blob([
    new TextDecoder().decode(bytesOf(name)).replace(/from "(\.[^"]+)"/g, (_, path) => (
      `from "${linkTo(new URL(path, `file:///${name}`).pathname.slice(1))}"`)),
  ], { type: "text/javascript" }));
  return links[name];
}

globalThis.readExported = async (name) => bytesOf(name).buffer;
import(linkTo("own/serve.js"));
