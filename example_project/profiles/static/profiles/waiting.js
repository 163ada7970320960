// While a picture waits, ask how far it has come. Once one has arrived that was a placeholder until then,
// show it; but nobody loses what they have typed or chosen meanwhile.
"use strict";

const PAUSE = 2000; // milliseconds

async function ask(element) {
  try {
    const answer = await fetch(element.dataset.waiting);
    if (answer.ok) {
      element.outerHTML = await answer.text();
    }
  } catch {
    // the site is being restarted; ask again
  }
  const now = document.getElementById("state");
  if (now.dataset.waiting) {
    setTimeout(ask, PAUSE, now);
  } else if (!("placeholder" in element.dataset)) {
    return; // it has been shown all along
  } else if (isUntouched()) {
    location.reload();
  } else {
    now.insertAdjacentHTML("beforeend", ' <a href="">Show it</a>');
  }
}

function isUntouched() {
  const fields = document.querySelectorAll("main input:not([type=hidden])");
  return [...fields].every((field) => field.value === field.defaultValue);
}

const waiting = document.querySelector("[data-waiting]");
if (waiting) {
  setTimeout(ask, PAUSE / 2, waiting);
}
