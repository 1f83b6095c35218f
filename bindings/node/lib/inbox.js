'use strict';

/** Messages that wait for a reader, or readers that wait for a message. */
class Inbox {
  readers = [];
  #queue = [];
  #taken = 0;

  get size() { return this.#queue.length - this.#taken; }

  /** Returns whether it waits now. */
  put(message) {
    const reader = this.readers.shift();
    if (reader === undefined) {
      this.#queue.push(message);
      return true;
    }
    reader.resolve(message);
    return false;
  }

  /** A reader that waits no more. Returns false when it has its message. */
  remove(reader) {
    const place = this.readers.indexOf(reader);
    if (place >= 0) this.readers.splice(place, 1);
    return place >= 0;
  }

  take() {
    const message = this.#queue[this.#taken];
    this.#queue[this.#taken++] = undefined;
    if (this.#taken === this.#queue.length) {
      this.#queue = [];
      this.#taken = 0;
    }
    return message;
  }
}

module.exports = { Inbox };
