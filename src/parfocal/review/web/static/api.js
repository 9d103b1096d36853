// Talks to the server; what changes something carries the page's token.

let token = document.querySelector('meta[name="form-token"]').content;

export async function ask(path, method = "GET", body = undefined) {
  const headers = { "x-form-token": token };
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 204) return null;
  const told = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(told.detail || answer.statusText), { status: answer.status });
  return told;
}

// After signing in again, in another tab, the browser has another token; true if there is one.
export async function renew() {
  const answer = await fetch("/api/session").catch(() => null);
  const wanted = answer?.ok ? (await answer.json()).form_token : token;
  if (wanted === token) return false;
  token = wanted;
  for (const input of document.querySelectorAll("input[name=form_token]")) input.value = token;
  return true;
}

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
