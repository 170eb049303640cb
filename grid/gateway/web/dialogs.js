// Dialogs: the browser keeps the focus inside and closes them on Esc; then nothing is done.

const $ = (id) => document.getElementById(id);

for (const button of document.querySelectorAll('dialog button[value="cancel"]'))
  button.addEventListener("click", () => button.closest("dialog").close());

export const isOpen = () => document.querySelector("dialog[open]") !== null;

// Shows a dialog whose form calls `done`; an error that it throws is shown, and the dialog stays.
function show(dialog, wrong, done) {
  wrong.textContent = "";
  dialog.querySelector("form").onsubmit = async (e) => {
    e.preventDefault();
    const yes = e.submitter;
    if (yes) yes.disabled = true;
    try {
      await done();
      dialog.close();
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      if (yes) yes.disabled = false;
    }
  };
  if (!dialog.open) dialog.showModal();
}

export function confirm({ title, text, word, done }) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = word;
  $("confirm-reason").value = "";
  show($("confirm"), $("confirm-wrong"), () => done($("confirm-reason").value));
  $("confirm-reason").focus();
}

export function askKey(why, done) {
  if ($("keys").open) return;
  show($("keys"), $("keys-wrong"), () => done($("keys-text").value.trim()));
  $("keys-wrong").textContent = why;
  $("keys-text").value = "";
}

export const shortcuts = () => $("shortcuts").showModal();
