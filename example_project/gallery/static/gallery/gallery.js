// Show which candidate of a srcset the browser chose. The page works without this script.
"use strict";

for (const line of document.querySelectorAll("[data-chosen]")) {
  const image = line.parentElement.querySelector("img[srcset]");
  const show = () => {
    if (!image.currentSrc) {
      return; // below the window: the browser has not chosen yet
    }
    const candidates = image.srcset.split(", ").map((candidate) => candidate.split(" "));
    const chosen = candidates.find(([url]) => new URL(url, document.baseURI).href === image.currentSrc);
    const density = Math.round(window.devicePixelRatio * 100) / 100;
    line.textContent = `Your browser chose ${chosen ? chosen[1] : image.currentSrc}: the image is ${image.width} `
      + `pixels wide on this page, at a density of ${density}.`;
    line.hidden = false;
  };
  image.addEventListener("load", show);
  window.addEventListener("resize", show);
  if (image.complete) {
    show();
  }
}
