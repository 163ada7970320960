/**
 * <cf-image-upload>: sends the images of a file input straight to Cloudflare, while the form is filled in.
 *
 * Django renders the element around a real file input. Hidden inputs carry what our site has signed; the file
 * never goes through Django. Where the direct upload fails, the file goes back into the input, and is sent with
 * the form. All texts are in `data-texts`.
 */

const UPLOADS = 3; // at once; a phone's line gains nothing from more
const ATTEMPTS = 7;
const FIRST_PAUSE = 500; // ms; doubled with each attempt
const LONGEST_PAUSE = 60_000; // ms; who is asked to wait for longer sends the file with the form
const OFFLINE = 30_000; // ms after which a browser that says so is not believed any more
const STALLED = 60_000; // ms without progress, after which an attempt is given up
const CANVAS_AREA = 16_777_216; // pixels: the largest canvas of iOS
const THUMBNAIL = 128; // pixels
const STEPS = [25, 50, 75]; // percent that are announced: with the start and the end at most six of each file

const elements = new Set();
const blocked = new Set(); // hosts that the content security policy of the page forbids

// Errors: `Refused` is the file's own fault or final; any other is tried again.

class Refused extends Error {
  constructor(message, { withForm = false } = {}) {
    super(message);
    this.withForm = withForm; // whether Django may still take the file
  }
}

class Interrupted extends Error {
  constructor(message = "", pause = 0) {
    super(message);
    this.pause = pause; // ms that the server asked for
  }
}

// A queue: at most `size` run at once.

const limited = (size) => {
  const waiting = [];
  let running = 0;
  const next = () => {
    if (running >= size || !waiting.length) return;
    running += 1;
    waiting.shift()();
  };
  return async (work) => {
    await new Promise((resolve) => (waiting.push(resolve), next()));
    try {
      return await work();
    } finally {
      running -= 1;
      next();
    }
  };
};
const sending = limited(UPLOADS);
const preparing = limited(1); // a decoded photo takes hundreds of megabytes

// Waiting

const aborted = () => new DOMException("", "AbortError");

/** Resolve after `ms`, or as soon as the browser is online again. */
const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      if (signal.aborted) reject(aborted());
      else resolve();
    };
    const timer = setTimeout(end, ms);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });

// The bytes of an image without its location

const ascii = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));

/** Empty the GPS directory of Exif data, in place; orientation and copyright stay. */
const emptyGps = (view) => {
  const little = view.getUint16(0) === 0x4949;
  const short = (at) => view.getUint16(at, little), long = (at) => view.getUint32(at, little);
  const entries = (at) => Array.from({ length: short(at) }, (_, index) => at + 2 + index * 12);
  const SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8];
  for (const pointer of entries(long(4))) {
    if (short(pointer) !== 0x8825) continue;
    const directory = long(pointer + 8);
    for (const entry of entries(directory)) {
      const size = long(entry + 4) * (SIZES[short(entry + 2)] ?? 1);
      const start = size > 4 ? long(entry + 8) : entry + 8;
      for (let at = start; at < start + size; at += 1) view.setUint8(at, 0);
      for (let at = entry; at < entry + 12; at += 1) view.setUint8(at, 0);
    }
    view.setUint16(directory, 0);
  }
};

/** Return the parts of a JPEG to keep: no XMP, no IPTC, no second image behind the first. */
const jpegParts = (bytes, view) => {
  const parts = [bytes.subarray(0, 2)];
  let at = 2;
  while (bytes[at] === 0xff && bytes[at + 1] !== 0xda) {
    const marker = bytes[at + 1], end = at + 2 + view.getUint16(at + 2), label = ascii(bytes, at + 4, 6);
    const exif = marker === 0xe1 && label === "Exif\0\0";
    if (exif) emptyGps(new DataView(bytes.buffer, at + 10, end - at - 10));
    const dropped = marker === 0xed || (marker === 0xe1 && !exif) || (marker === 0xe2 && label.startsWith("MPF\0"));
    if (!dropped) parts.push(bytes.subarray(at, end));
    at = end;
  }
  let end = at;
  while (end < bytes.length && !(bytes[end] === 0xff && bytes[end + 1] === 0xd9)) end += 1;
  return [...parts, bytes.subarray(at, end + 2)];
};

const pngParts = (bytes, view) => {
  const parts = [bytes.subarray(0, 8)];
  for (let at = 8, end; at < bytes.length; at = end) {
    end = at + 12 + view.getUint32(at);
    if (!["eXIf", "tEXt", "iTXt", "zTXt"].includes(ascii(bytes, at + 4, 4))) parts.push(bytes.subarray(at, end));
  }
  return parts;
};

const webpParts = (bytes, view) => {
  const parts = [bytes.subarray(0, 12)];
  for (let at = 12, end; at < bytes.length; at = end) {
    const name = ascii(bytes, at, 4), size = view.getUint32(at + 4, true);
    end = at + 8 + size + (size % 2);
    if (name === "VP8X") bytes[at + 8] &= ~0x0c; // there is neither Exif nor XMP any more
    if (name !== "EXIF" && name !== "XMP ") parts.push(bytes.subarray(at, end));
  }
  view.setUint32(4, parts.reduce((sum, part) => sum + part.length, -8), true);
  return parts;
};

const PARTS = { "image/jpeg": jpegParts, "image/png": pngParts, "image/webp": webpParts };
const WITHOUT_LOCATION = ["image/gif", "image/svg+xml"]; // cameras do not write them

/** Return the file without location, byte for byte the same pixels; `null` if only a canvas can do it. */
const withoutLocation = async (file) => {
  if (WITHOUT_LOCATION.includes(file.type)) return file;
  if (!PARTS[file.type]) return null;
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    return new File(PARTS[file.type](bytes, new DataView(bytes.buffer)), file.name, { type: file.type });
  } catch (error) {
    if (error instanceof RangeError) return null; // cut off, or not what it says
    throw error;
  }
};

// Smaller images

const canvasOf = (bitmap, width, height) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
};

const isAnimated = async (file) => {
  if (file.type === "image/gif") return true;
  const head = ascii(new Uint8Array(await file.slice(0, 4096).arrayBuffer()), 0, 4096);
  return file.type === "image/png" ? head.includes("acTL") : file.type === "image/webp" && head.includes("ANIM");
};

/** Return a smaller file of an upright bitmap; `null` if the browser cannot. */
const reduced = async (file, bitmap, { maxBytes, maxSide, maxArea, accepts }) => {
  const { width, height } = bitmap;
  const clear = ["image/webp", "image/png"]; // keep what is clear
  const types = clear.includes(file.type) ? [...clear, "image/jpeg"] : ["image/jpeg", ...clear];
  const wanted = types.find(accepts) ?? types[0];
  let scale = Math.min(
    1, maxSide / Math.max(width, height), Math.sqrt(Math.min(maxArea, CANVAS_AREA) / (width * height)),
  );
  for (let attempt = 0; attempt < 12; attempt += 1, scale *= 0.8) {
    const canvas = canvasOf(bitmap, Math.max(1, Math.floor(width * scale)), Math.max(1, Math.floor(height * scale)));
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, wanted, 0.9));
    canvas.width = canvas.height = 0; // iOS keeps the memory of a canvas otherwise
    if (blob && blob.size <= maxBytes) {
      const stem = file.name.replace(/\.[^.]*$/, ""), kind = blob.type.slice(6);
      return new File([blob], `${stem}.${kind === "jpeg" ? "jpg" : kind}`, { type: blob.type });
    }
  }
  return null;
};

// Requests

/** Post JSON to our site; return the answer, or throw `Refused` or `Interrupted`. */
const ask = async (element, action, data, signal, keepalive = false) => {
  const form = (element.form = element.input.form ?? element.form); // it may have been taken out
  const csrf = form?.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
  let response, answer;
  try {
    response = await fetch(element.dataset[action], {
      method: "POST", credentials: "same-origin", body: JSON.stringify(data), signal, keepalive,
      headers: { "Content-Type": "application/json", Accept: "application/json", [element.dataset.csrfHeader || "X-CSRFToken"]: csrf },
    });
    answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  } catch (error) {
    throw error.name === "AbortError" ? error : new Interrupted();
  }
  if (response.ok) return answer;
  const message = answer.error || (response.status === 403 ? element.text("forbidden") : "");
  if (response.status >= 500 || [408, 429].includes(response.status)) {
    throw new Interrupted(response.status < 500 ? message : "", (Number(response.headers.get("Retry-After")) || 0) * 1000);
  }
  throw new Refused(message, { withForm: ![413, 415].includes(response.status) });
};

/** Post the file; return status and body. `onProgress` gets percent. */
const sendWithProgress = (url, body, onProgress, signal) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let stalled;
    const watch = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => request.abort(), STALLED);
    };
    const abort = () => request.abort();
    signal.addEventListener("abort", abort);
    request.upload.onprogress = ({ loaded, total }) => (watch(), onProgress(total ? (100 * loaded) / total : 0));
    request.onload = () => resolve({ status: request.status, body: request.responseText });
    request.onerror = () => reject(new Interrupted());
    request.onabort = () => reject(signal.aborted ? aborted() : new Interrupted());
    request.onloadend = () => (clearTimeout(stalled), signal.removeEventListener("abort", abort));
    request.open("POST", url);
    watch();
    request.send(body);
  });

/** Post the file where the host does not answer the preflight that listening to progress needs. */
const sendPlainly = async (url, body, signal) => {
  try {
    const response = await fetch(url, { method: "POST", body, signal, credentials: "omit" });
    return { status: response.status, body: await response.text() };
  } catch (error) {
    throw error.name === "AbortError" ? error : new Interrupted();
  }
};

const errorOf = (body) => {
  try {
    const { errors, error } = JSON.parse(body);
    return { code: errors?.[0]?.code, reason: error || errors?.[0]?.message || "" };
  } catch {
    return { reason: "" };
  }
};

// What a reload must not forget: reservations of this page, in this tab

const memory = {
  key: ({ input }) => `cf-image-upload:${location.pathname}${location.search}:${input.id || input.name}`,
  read(element) {
    try {
      return JSON.parse(sessionStorage.getItem(this.key(element))) ?? [];
    } catch {
      return []; // storage is blocked
    }
  },
  write(element) {
    const entries = element.items.filter((item) => item.reservation).map((item) => ({ ...item.reservation, print: item.print, name: item.name }));
    try {
      if (entries.length) sessionStorage.setItem(this.key(element), JSON.stringify(entries));
      else sessionStorage.removeItem(this.key(element));
    } catch {
      // blocked or full: only a reload in the middle of an upload needs it
    }
  },
};
const returning = () => ["reload", "back_forward"].includes(performance.getEntriesByType("navigation")[0]?.type);
const printOf = (file) => `${file.name}:${file.size}:${file.lastModified}`;

// One image

let count = 0;

const make = (tag, className, properties = {}) =>
  Object.assign(document.createElement(tag), { className, ...properties });

class Item {
  constructor(element, name, file = null) {
    Object.assign(this, { element, name, file, print: file && printOf(file), reservation: null, state: "", tried: false });
    this.aborter = new AbortController();
    this.announced = new Set();
    this.render();
  }

  get busy() {
    return ["preparing", "waiting", "sending"].includes(this.state);
  }

  render() {
    const { element } = this;
    this.row = make("li", "cf-upload-item");
    this.thumb = make("span", "cf-upload-thumb");
    this.thumb.setAttribute("aria-hidden", "true");
    this.note = make("span", "cf-upload-note", { id: `cf-upload-note-${(count += 1)}` });
    this.bar = make("progress", "cf-upload-bar", { max: 100, value: 0 });
    const words = make("span", "cf-upload-words");
    const name = make("span", "cf-upload-name");
    name.append(document.createElement("bdi"));
    words.append(name, this.note, this.bar);
    this.buttons = {
      up: this.button("up", () => element.move(this, -1)),
      down: this.button("down", () => element.move(this, 1)),
      retry: this.button("retry", () => this.start()),
      cancel: this.button("cancel", () => element.removeItem(this)),
      remove: this.button("remove", () => element.removeItem(this)),
    };
    const actions = make("span", "cf-upload-actions");
    actions.append(...Object.values(this.buttons));
    this.row.append(this.thumb, words, actions);
    this.rename(this.name);
  }

  rename(name) {
    this.name = name;
    this.row.querySelector("bdi").textContent = name;
    this.bar.setAttribute("aria-label", this.say("sending"));
    for (const [key, button] of Object.entries(this.buttons)) button.setAttribute("aria-label", this.say(`${key}Name`));
  }

  button(name, onclick) {
    return make("button", `cf-upload-${name}`, { type: "button", textContent: this.element.text(name), onclick });
  }

  say(key, values = {}) {
    return this.element.text(key, { name: this.name, ...values });
  }

  /** Show a state, with a note below the name. */
  show(state, note = "") {
    this.state = this.row.dataset.state = state;
    this.note.textContent = note;
    this.bar.hidden = state !== "sending";
    const { cancel, remove, retry } = this.buttons;
    const focused = this.row.contains(document.activeElement) ? document.activeElement : null;
    cancel.hidden = !this.busy;
    remove.hidden = this.busy;
    retry.hidden = state !== "failed";
    if (focused?.hidden) (this.busy ? cancel : remove).focus();
    this.element.update();
  }

  announce(key, values) {
    if (this.announced.has(key + values?.percent)) return;
    this.announced.add(key + values?.percent);
    this.element.announce(this.say(key, values));
  }

  async start() {
    const { element } = this;
    this.aborter = new AbortController();
    element.giveBack(this, false);
    try {
      this.show("preparing", this.say("preparing"));
      this.ready ??= await preparing(() => this.prepare());
      this.show("waiting", element.text("waiting"));
      await sending(() => this.transfer());
      this.finish();
    } catch (error) {
      if (!this.aborter.signal.aborted) this.fail(error);
    }
  }

  /** Return the file to send: within the limits, without location if asked for. */
  async prepare() {
    const { file, element } = this, { signal } = this.aborter;
    if (signal.aborted) throw aborted();
    if (!file.size) throw new Refused(this.say("empty"));
    if (file.type && !file.type.startsWith("image/")) throw new Refused(this.say("type"));
    await file.slice(0, 1).arrayBuffer().catch(() => {
      throw new Refused(this.say("unreadable"));
    });
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
    try {
      const ready = await this.fitted(bitmap, element.limits);
      if (bitmap) this.preview(bitmap);
      return ready;
    } finally {
      bitmap?.close();
    }
  }

  async fitted(bitmap, limits) {
    const { file, element } = this;
    const { width = 0, height = 0 } = bitmap ?? {};
    const sides = file.type === "image/webp" ? 0 : Math.max(width, height); // WebP is exempt
    const tooLarge = file.size > limits.maxBytes, tooMany = sides > limits.maxSide || width * height > limits.maxArea;
    const accepted = limits.accepts(file.type);
    const fits = accepted && !tooLarge && !tooMany;
    const kept = fits && (limits.strip ? await withoutLocation(file) : file);
    if (kept) return kept;
    const other = bitmap && !(await isAnimated(file)) ? await reduced(file, bitmap, limits) : null;
    if (other && limits.accepts(other.type)) return other;
    const values = { size: element.bytes(file.size), limit: element.bytes(limits.maxBytes), width, height };
    const reason = !accepted ? "type" : tooLarge ? "tooLarge" : tooMany ? "tooManyPixels" : "location";
    throw new Refused(this.say(reason, values));
  }

  /** Draw the thumbnail on a canvas, which no content security policy forbids. */
  preview(bitmap) {
    const scale = Math.min(1, THUMBNAIL / Math.min(bitmap.width, bitmap.height));
    this.thumb.replaceChildren(
      canvasOf(bitmap, Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale)),
    );
  }

  /** Send the file until it has arrived. After each interruption, ask before sending again. */
  async transfer() {
    const { signal } = this.aborter;
    for (let attempt = 1; ; attempt += 1) {
      if (!navigator.onLine) {
        this.show("waiting", this.element.text("offline"));
        await pause(OFFLINE, signal);
      }
      try {
        if (await this.attempt(signal)) return;
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error;
        const last = error.pause >= LONGEST_PAUSE || (attempt >= ATTEMPTS && navigator.onLine);
        if (last) throw new Refused(error.message || this.say("failed"), { withForm: true });
        this.show("waiting", error.message || this.element.text("retrying"));
        await pause(Math.max(error.pause, FIRST_PAUSE * 2 ** (attempt - 1) * (0.75 + Math.random() / 2)), signal);
      }
    }
  }

  /** Return whether the file has arrived. */
  async attempt(signal) {
    const { element, ready } = this;
    if (this.reservation && this.tried) {
      const { state } = await ask(element, "status", { value: this.reservation.value }, signal);
      if (state === "uploaded") return true;
      if (state !== "open") this.reservation = null;
    }
    this.tried = true;
    if (!this.reservation) {
      const data = { field: element.dataset.field, filename: ready.name, size: ready.size, type: ready.type };
      this.reservation = await ask(element, "reserve", data, signal);
      memory.write(element);
    }
    const { origin } = new URL(this.reservation.upload_url, location.href);
    if (blocked.has(origin)) throw new Refused(this.say("failed"), { withForm: true });
    this.show("sending");
    const { status, body } = await this.send(signal);
    if (status >= 200 && status < 300) return true;
    const { code, reason } = errorOf(body);
    if (status === 404) this.reservation = null;
    if (status >= 500 || code === 5550 || [404, 408, 409, 429].includes(status)) throw new Interrupted();
    throw new Refused(this.say("refused", { reason: reason || status }));
  }

  async send(signal) {
    const body = new FormData();
    body.append("file", this.ready, this.ready.name);
    let moved = false;
    const onProgress = (percent) => {
      moved = true;
      this.progress(percent);
    };
    if (this.plainly) return sendPlainly(this.reservation.upload_url, body, signal);
    try {
      return await sendWithProgress(this.reservation.upload_url, body, onProgress, signal);
    } catch (error) {
      this.plainly = !moved && navigator.onLine && !signal.aborted; // perhaps the preflight was not answered
      throw error;
    }
  }

  progress(percent) {
    const whole = Math.floor(percent);
    this.bar.value = whole;
    const step = STEPS.findLast((each) => each <= whole);
    if (step && whole < 100) {
      STEPS.filter((each) => each < step).forEach((each) => this.announced.add(`percent${each}`));
      this.announce("percent", { percent: step });
    }
    this.element.tell("progress", { percent: whole });
  }

  finish() {
    const { element, ready, file, reservation } = this;
    const size = element.bytes(ready.size);
    this.input = element.hiddenInput(this);
    this.input.value = reservation.value;
    this.input.dataset.filename = this.name;
    this.show("done", ready.size < file.size && file.size > element.limits.maxBytes ? element.text("reduced", { size }) : size);
    this.announce("done");
    memory.write(element);
    element.tell("done", { value: reservation.value, filename: this.name });
  }

  fail(error) {
    const { element } = this;
    const withForm = !(error instanceof Refused) || error.withForm;
    const message = (error instanceof Refused && error.message) || this.say("failed");
    if (!withForm) this.discard();
    const back = withForm && element.giveBack(this, true);
    this.show(withForm ? "failed" : "refused", back ? `${message} ${element.text("withForm")}` : message);
    element.announce(this.note.textContent);
    element.tell("error", { message });
  }

  /** Take an upload of before: from a form that came back, or from a page that was loaded again. */
  adopt(input, reservation) {
    this.input = input;
    this.reservation = reservation;
    this.show("done");
    this.showPreview(input.dataset.preview);
  }

  /** Show the image from our site, unless it is seen already. */
  showPreview(src) {
    if (src && !this.thumb.firstChild) this.thumb.append(make("img", "", { src, alt: "" }));
  }

  /** Stop, and let our site delete what has arrived. */
  discard() {
    const { element, reservation } = this;
    this.aborter.abort();
    this.reservation = null;
    if (reservation) ask(element, "discard", { value: reservation.value }, undefined, true).catch(() => {}); // else it expires
    memory.write(element);
  }
}

// The element

class ImageUpload extends HTMLElement {
  items = [];
  interrupted = []; // reservations of a page that was loaded again in the middle of an upload

  connectedCallback() {
    elements.add(this);
    if (!this.zone) this.build();
  }

  disconnectedCallback() {
    setTimeout(() => {
      if (this.isConnected) return; // a row was moved
      elements.delete(this);
      this.items.filter((item) => item.busy).forEach((item) => this.removeItem(item, true));
    });
  }

  build() {
    const input = this.querySelector("input[type=file]");
    if (!input || input.name.includes("__prefix__")) return; // the template of a formset
    this.querySelectorAll(".cf-upload-list, .cf-upload-notice, .cf-upload-status").forEach((part) => part.remove()); // of a clone
    this.querySelector(".cf-upload-zone")?.replaceWith(input);
    this.input = input;
    this.required = input.required;
    this.initial = this.querySelector("a[href]") !== null; // Django's link to the current image
    this.texts = JSON.parse(this.dataset.texts);
    const { maxBytes, maxSide, maxArea, accept } = this.dataset;
    const types = (accept || "image/*").split(",").map((type) => type.trim());
    this.limits = {
      ...{ maxBytes: +maxBytes, maxSide: +maxSide, maxArea: +maxArea, strip: "stripLocation" in this.dataset },
      accepts: (type) => !type || types.includes(type) || types.includes("image/*"), // our site looks at the bytes
    };
    this.many = "multiple" in this.dataset;
    this.prompt = make("span", "cf-upload-prompt", { id: `cf-upload-prompt-${(count += 1)}` });
    this.prompt.setAttribute("aria-hidden", "true");
    this.zone = make("span", "cf-upload-zone");
    this.list = make(this.many ? "ol" : "ul", "cf-upload-list", { hidden: true });
    this.list.setAttribute("aria-label", this.text("list"));
    this.notice = make("span", "cf-upload-notice", { id: `cf-upload-notice-${(count += 1)}` });
    this.status = make("span", "cf-upload-status");
    this.status.setAttribute("role", "status");
    input.replaceWith(this.zone);
    this.zone.append(this.prompt, input);
    this.append(this.list, this.notice, this.status);
    this.label();
    if (this.many || this.group()) input.multiple = true;
    input.addEventListener("change", () => this.take());
    this.addEventListener("dragover", (event) => this.drag(event));
    this.addEventListener("dragleave", (event) => {
      if (!this.contains(event.relatedTarget)) this.zone.classList.remove("cf-upload-over");
    });
    this.addEventListener("drop", (event) => this.drop(event));
    if (this.many) this.sortable();
    input.form?.addEventListener("reset", () => this.items.slice().forEach((item) => this.removeItem(item, true)));
    this.restore();
    this.update();
    if (input.files.length) this.take(); // chosen before the script was loaded, or restored by the browser
  }

  /** Name the input by its label, which a table of the admin has not, and by what the zone says. */
  label() {
    const [label] = this.input.labels ?? [];
    const given = this.input.getAttribute("aria-labelledby");
    if (given && !given.includes("cf-upload-")) return;
    if (label) label.id ||= `cf-upload-label-${(count += 1)}`;
    this.input.setAttribute("aria-labelledby", `${label?.id ?? ""} ${this.prompt.id}`.trim());
  }

  /** The language of the page, for numbers; undefined if a browser would not take it for one. */
  get language() {
    return [document.documentElement.lang].find((each) => /^[a-z]{2,3}(-\w+)*$/i.test(each));
  }

  text(key, values = {}) {
    return (this.texts[key] ?? "").replace(/\{(\w+)\}/g, (whole, name) => {
      const value = values[name] ?? whole;
      return typeof value === "number" ? value.toLocaleString(this.language) : value;
    });
  }

  bytes(size) {
    const [unit, value] = size < 1e6 ? ["kilobyte", size / 1024] : ["megabyte", size / 1024 / 1024];
    const style = { style: "unit", unit, maximumFractionDigits: unit === "megabyte" ? 1 : 0 };
    return new Intl.NumberFormat(this.language, style).format(Math.max(value, unit === "megabyte" ? 0 : 1));
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(`cf-image-upload:${name}`, { bubbles: true, detail }));
  }

  /** Let screen readers say something, together with what else is to be said now. */
  announce(message) {
    if (!this.pending) {
      this.pending = [];
      setTimeout(() => {
        this.status.textContent = this.pending.join(" ");
        this.pending = null;
      }, 100);
    }
    if (!this.pending.includes(message)) this.pending.push(message);
  }

  /** Say something below the list that is about no item in it. */
  say(key, name) {
    this.notice.textContent = this.text(key, { name });
    this.update();
    this.announce(this.notice.textContent);
  }

  clear() {
    this.notice.textContent = "";
    this.update();
  }

  get disabled() {
    return this.input.matches(":disabled");
  }

  get busy() {
    return this.recovering || this.items.some((item) => item.busy);
  }

  get empty() {
    return !this.items.length && !this.input.files.length && !this.initial;
  }

  /** Make the page agree with the items. */
  update() {
    const { items, input, many } = this;
    this.list.hidden = !items.length;
    this.prompt.textContent = this.text(many ? "chooseMany" : items.length || this.initial ? "replace" : "choose");
    input.required = this.required && !items.some((item) => item.busy || item.state === "done");
    const wrong = items.filter((item) => ["refused", "failed"].includes(item.state));
    const described = (input.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && !id.startsWith("cf-upload-"));
    described.push(...wrong.map((item) => item.note.id), ...(this.notice.textContent ? [this.notice.id] : []));
    if (described.length) input.setAttribute("aria-describedby", described.join(" "));
    else input.removeAttribute("aria-describedby");
    if (wrong.length) input.setAttribute("aria-invalid", "true");
    else if (this.marked) input.removeAttribute("aria-invalid");
    this.marked = wrong.length > 0;
    items.forEach(({ buttons }, index) => {
      const alone = !many || items.length < 2;
      buttons.up.hidden = buttons.down.hidden = alone;
      buttons.up.disabled = index === 0;
      buttons.down.disabled = index === items.length - 1;
    });
    this.dispatchEvent(new Event("cf-image-upload:settle"));
  }

  /** Resolve when no upload is under way. */
  async settled() {
    while (this.busy) await new Promise((resolve) => this.addEventListener("cf-image-upload:settle", resolve, { once: true }));
  }

  // Files

  take() {
    const given = this.items.filter((item) => item.given).map((item) => printOf(item.ready ?? item.file));
    const files = [...this.input.files].filter((file) => !given.includes(printOf(file)));
    this.fillInput(); // Django gets none of them
    this.add(files);
  }

  add(files) {
    if (this.disabled || !files.length) return;
    this.clear();
    if (!this.many) files.slice(1).forEach((file) => this.addElsewhere(file));
    for (const file of this.many ? files : files.slice(0, 1)) this.addOne(file);
  }

  addOne(file) {
    if (!this.many) this.items.slice().forEach((item) => this.removeItem(item, true));
    const clear = this.querySelector(`input[type=checkbox][name="${CSS.escape(`${this.input.name}-clear`)}"]`);
    if (clear) clear.checked = false;
    const item = new Item(this, file.name, file);
    const interrupted = this.interrupted.find((entry) => entry.print === item.print);
    if (interrupted) Object.assign(item, { reservation: interrupted, tried: true });
    this.items.push(item);
    this.list.append(item.row);
    this.announce(item.say("sending"));
    this.tell("start", {});
    item.start();
  }

  /** Add a file to the next row of an inline; Django's admin adds a row if there is none. */
  addElsewhere(file) {
    const group = this.group();
    const free = () => this.siblings().find((element) => element.empty && !element.disabled);
    const links = [...(group?.querySelectorAll(".add-row a, a.add-row") ?? [])]; // Django's, django-unfold's
    if (group && !free()) links.find((link) => link.getClientRects().length)?.click(); // adds it at once
    const element = group && free();
    if (element) element.addOne(file);
    else this.say("noRow", file.name);
  }

  group() {
    return /-\d+-/.test(this.input.name) && !this.many ? this.closest("[data-inline-formset]") : null;
  }

  siblings() {
    const generic = (name) => name.replace(/-\d+-/, "--");
    const all = [...this.group().querySelectorAll("cf-image-upload")];
    return all.filter((element) => element.zone && element !== this && generic(element.input.name) === generic(this.input.name));
  }

  hiddenInput(item) {
    if (item.input) return item.input;
    if (!this.many) return this.single();
    const input = this.newInput();
    item.row.append(input);
    return input;
  }

  newInput() {
    return make("input", "", { type: "hidden", name: `${this.input.name}-upload` });
  }

  single() {
    return this.querySelector(`input[type=hidden][name="${CSS.escape(`${this.input.name}-upload`)}"]`);
  }

  /** Put the files of failed uploads into the real input, or take them out again; return whether it has them. */
  giveBack(item, given) {
    item.given = given;
    this.fillInput();
    return given && this.input.files.length > 0;
  }

  fillInput() {
    const files = new DataTransfer();
    this.items.filter((item) => item.given).forEach((item) => files.items.add(item.ready ?? item.file));
    this.input.files = files.files;
  }

  removeItem(item, silent = false) {
    const index = this.items.indexOf(item);
    const focused = item.row.contains(document.activeElement);
    const value = item.reservation?.value ?? item.input?.value;
    item.discard();
    this.items.splice(index, 1);
    this.giveBack(item, false);
    if (!this.many && item.input) item.input.value = "";
    item.row.remove();
    this.update();
    memory.write(this);
    const next = this.items[Math.min(index, this.items.length - 1)];
    if (focused) (next ? Object.values(next.buttons).findLast((button) => !button.hidden) : this.input).focus();
    if (!silent) {
      this.clear();
      this.announce(item.say("removed"));
    }
    this.tell("remove", { value });
  }

  // Uploads of before

  restore() {
    const inputs = [...this.querySelectorAll(`input[type=hidden][name="${CSS.escape(`${this.input.name}-upload`)}"]`)];
    const entries = memory.read(this);
    const known = (value) => entries.find((entry) => entry.value === value);
    for (const input of inputs.filter((each) => each.value)) {
      const item = this.adopted(input, known(input.value) ?? { value: input.value });
      if (!input.dataset.preview) this.check(item); // the browser has filled it in, not our site
    }
    const others = entries.filter((entry) => !inputs.some((input) => input.value === entry.value));
    if (returning()) this.recover(others);
    else memory.write(this); // a new visit
  }

  adopted(input, reservation) {
    const item = new Item(this, input.dataset.filename || reservation.name || "");
    this.items.push(item);
    this.list.append(item.row);
    if (this.many) item.row.append(input);
    item.adopt(input, reservation);
    return item;
  }

  /** Ask what has become of the uploads of a page that was left or loaded again. */
  async recover(entries) {
    this.recovering = true;
    const answers = await Promise.all(entries.map((entry) => this.stateOf(entry)));
    this.recovering = false;
    entries.forEach((entry, index) => {
      const { state, filename, preview_url: preview } = answers[index], name = filename || entry.name;
      if (state === "uploaded" && (this.many || !this.items.length)) {
        const input = this.many ? this.newInput() : this.single();
        input.value = entry.value;
        Object.assign(input.dataset, { filename: name, preview: preview ?? "" });
        this.adopted(input, { ...entry, name });
      } else if (state === "open") {
        this.interrupted.push(entry);
        this.say("interrupted", name);
      }
    });
    this.update();
  }

  async check(item) {
    const answer = await this.stateOf(item.reservation);
    if (!this.items.includes(item)) return;
    if (answer.state === "uploaded") {
      item.showPreview(answer.preview_url);
      if (!item.name) item.rename(answer.filename);
    } else if (["attached", "gone"].includes(answer.state)) {
      item.reservation = null; // nothing to discard
      this.removeItem(item, true);
      this.say(answer.state, answer.filename || item.name);
    }
  }

  stateOf({ value }) {
    return ask(this, "status", { value }).catch(() => ({})); // unknown: the form's own check tells
  }


  // Dropping, pasting, sorting

  drag(event) {
    if (!event.dataTransfer?.types.includes("Files") || this.disabled) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    this.zone.classList.add("cf-upload-over");
  }

  drop(event) {
    this.zone.classList.remove("cf-upload-over");
    if (!event.dataTransfer?.files.length || this.disabled) return;
    event.preventDefault();
    this.add([...event.dataTransfer.files]);
  }

  move(item, by) {
    const from = this.items.indexOf(item), to = from + by;
    if (to < 0 || to >= this.items.length) return;
    const focused = item.row.contains(document.activeElement) ? document.activeElement : null;
    this.items.splice(from, 1);
    this.items.splice(to, 0, item);
    if (by > 0) this.list.children[to].after(item.row);
    else this.list.children[to].before(item.row);
    this.update();
    memory.write(this);
    if (focused) (focused.disabled ? item.buttons[by > 0 ? "up" : "down"] : focused).focus();
    this.announce(item.say("moved", { position: to + 1, count: this.items.length }));
  }

  /** Let a thumbnail be dragged to another place in the list: by mouse, pen or finger. */
  sortable() {
    let dragged = null;
    this.list.addEventListener("pointerdown", (event) => {
      const thumb = event.target.closest(".cf-upload-thumb");
      dragged = thumb && event.button === 0 ? this.items.find((item) => item.thumb === thumb) : null;
      if (!dragged) return;
      event.preventDefault();
      this.list.setPointerCapture(event.pointerId);
      dragged.row.classList.add("cf-upload-dragged");
    });
    this.list.addEventListener("pointermove", (event) => {
      if (!dragged) return;
      const row = document.elementFromPoint(event.clientX, event.clientY)?.closest(".cf-upload-item");
      const to = this.items.findIndex((item) => item.row === row);
      if (to >= 0 && row !== dragged.row) this.move(dragged, to - this.items.indexOf(dragged));
    });
    const end = () => (dragged?.row.classList.remove("cf-upload-dragged"), (dragged = null));
    this.list.addEventListener("pointerup", end);
    this.list.addEventListener("pointercancel", end);
  }
}

// The page

/** Hold a form back until its uploads are complete. */
const hold = async (event) => {
  const form = event.target;
  const own = [...elements].filter((element) => element.zone && element.input.form === form && !element.disabled);
  const refused = own.find((element) => element.items.some((item) => item.state === "refused"));
  if (!refused && !own.some((element) => element.busy)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (refused) {
    refused.say("blocked");
    refused.input.focus();
    return;
  }
  if (form.dataset.cfUploading) return; // it waits already
  form.dataset.cfUploading = "true";
  const [first] = own.filter((element) => element.busy);
  first.say("finishing");
  await Promise.all(own.map((element) => element.settled()));
  delete form.dataset.cfUploading;
  first.clear();
  if (form.isConnected) form.requestSubmit(event.submitter?.isConnected ? event.submitter : null);
};

/** Send with a form what is not uploaded yet: a script may send it without asking, by `form.submit()`. */
const complete = ({ target, formData }) => {
  for (const { input, items } of elements) {
    if (input?.form !== target || input.matches(":disabled")) continue;
    items.filter((item) => item.busy).forEach((item) => formData.append(input.name, item.ready ?? item.file));
  }
};

const paste = (event) => {
  const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  if (!files.length) return;
  const ready = [...elements].filter((element) => element.zone && !element.disabled);
  const element = ready.find((each) => each.contains(event.target)) ?? (ready.length === 1 ? ready[0] : null);
  if (!element) return; // which one is meant?
  event.preventDefault();
  element.add(files);
};

/** Keep the page where a file is dropped beside a zone: the browser would open it instead of the form. */
const keep = (event) => {
  if (event.defaultPrevented || !elements.size || !event.dataTransfer?.types.includes("Files")) return;
  if (event.target.closest?.("input[type=file]")) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "none";
};

addEventListener("securitypolicyviolation", ({ blockedURI }) => {
  if (URL.canParse?.(blockedURI)) blocked.add(new URL(blockedURI).origin);
});
addEventListener("submit", hold, true);
addEventListener("formdata", complete);
addEventListener("paste", paste);
addEventListener("dragover", keep);
addEventListener("drop", keep);
addEventListener("pageshow", (event) => {
  if (!event.persisted) return; // back to a page that the browser has kept: its form may have been saved
  for (const element of elements) element.items.filter((item) => item.state === "done").forEach((item) => element.check(item));
});
customElements.define("cf-image-upload", ImageUpload);
