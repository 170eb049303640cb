// REST of the gateway. The key lives in this tab's session storage and travels in a header only.

const KEY = "argonaut.key";
const ROOT = "/api/v1/";
const TIMEOUT_MS = 8000;

export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (key.get()) headers["X-API-Key"] = key.get();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(ROOT + path, { method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (e) {
    throw new ApiError(0, `the gateway cannot be reached: ${e.message}`);
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, said.detail ?? response.statusText);
  return said;
}

export const get = (path) => ask("GET", path);
export const post = (path, body = {}) => ask("POST", path, body);

// All rows of a list, newest first, up to `most`.
export async function pages(path, most) {
  const found = [];
  let cursor = "";
  do {
    const page = await get(`${path}${path.includes("?") ? "&" : "?"}limit=${Math.min(500, most)}&cursor=${cursor}`);
    found.push(...page.items);
    cursor = page.next;
  } while (cursor && found.length < most);
  return found;
}
