// Which candidate of a srcset the browser chose, and a look at the placeholder; the page works without.
"use strict";

for (const line of document.querySelectorAll("[data-chosen]")) {
  const image = line.parentElement.querySelector("img[srcset]");
  const tell = () => {
    const candidates = image.srcset.split(", ").map((candidate) => candidate.split(" "));
    const chosen = candidates.find(([address]) => new URL(address, document.baseURI).href === image.currentSrc);
    const density = Math.round(window.devicePixelRatio * 100) / 100;
    line.textContent = `Your browser chose ${chosen ? chosen[1] : image.currentSrc}, for ${image.width} pixels `
      + `of the page at a density of ${density}.`;
    line.hidden = false;
  };
  image.addEventListener("load", tell);
  window.addEventListener("resize", tell);
  if (image.complete && image.currentSrc) {
    tell();
  }
}
