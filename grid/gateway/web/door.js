// Who is here: the key that this tab has, and the dialog that asks for one where it is not good.

import { get, key } from "/web/api.js";
import * as dialogs from "/web/dialogs.js";

// Takes a key; one that is not good is thrown out again, and the error with it.
export async function enter(text) {
  const before = key.get();
  key.set(text);
  try {
    await get("whoami");
  } catch (e) {
    key.set(before);
    throw e;
  }
}

export const isShut = (e) => e.status === 401 || e.status === 403;

// Asks for a key; `entered` is called with none of it when one is good.
export function ask(why, entered) {
  dialogs.askKey(why, async (text) => {
    await enter(text);
    entered();
  });
}
