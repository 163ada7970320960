// While an upload is pending, request its state. When an image that had only a placeholder is stored, reload the
// page, but only if no form has been filled in.
"use strict";

const PAUSE = 2000; // milliseconds

async function update(element) {
  try {
    const response = await fetch(element.dataset.pending);
    if (response.ok) {
      element.outerHTML = await response.text();
    }
  } catch {
    // the site is restarting; try again
  }
  const current = document.getElementById("state");
  if (current.dataset.pending) {
    setTimeout(update, PAUSE, current);
  } else if (!("placeholder" in element.dataset)) {
    return; // the image was shown from the start
  } else if (isUntouched()) {
    location.reload();
  } else {
    current.insertAdjacentHTML("beforeend", ' <a href="">Show it</a>');
  }
}

function isUntouched() {
  const fields = document.querySelectorAll("main input:not([type=hidden])");
  return [...fields].every((field) => field.value === field.defaultValue);
}

const pending = document.querySelector("[data-pending]");
if (pending) {
  setTimeout(update, PAUSE / 2, pending);
}
