'use strict';
// Which messages the program is done with, and where that is kept.

const fs = require('node:fs');

/** Positions in a JSON file, which is replaced with each of them. */
class FileReplayStore {
  #path;
  #positions = {};
  #writing = Promise.resolve();

  constructor(path) {
    this.#path = path;
    if (fs.existsSync(path)) this.#positions = JSON.parse(fs.readFileSync(path, 'utf8'));
  }

  load(channel) { return this.#positions[channel]; }

  save(channel, position) {
    this.#positions[channel] = position;
    const text = JSON.stringify(this.#positions);
    const written = this.#writing.then(async () => {
      await fs.promises.writeFile(`${this.#path}.new`, text);
      await fs.promises.rename(`${this.#path}.new`, this.#path);
    });
    this.#writing = written.catch(() => {});
    return written;
  }
}

/** Of a channel the position is the newest before which the program is done with all. */
class Positions {
  #store;
  #failed;
  #channels = new Map();

  constructor(store, failed) {
    this.#store = store;
    this.#failed = failed;
  }

  load(channel) { return this.#store.load(channel); }

  /** A message that was read: what done() takes, or undefined. */
  read(message) {
    const given = message.data?.event?.replayId;
    const position = typeof given === 'string' ? Number(given) : given;
    if (!Number.isSafeInteger(position)) return undefined;
    let channel = this.#channels.get(message.channel);
    if (channel === undefined) {
      channel = { name: message.channel, marks: [], position: undefined, saving: undefined };
      this.#channels.set(message.channel, channel);
    }
    const mark = { channel, position, done: false };
    channel.marks.push(mark);
    return mark;
  }

  done(mark) {
    const { channel } = mark;
    mark.done = true;
    let count = 0;
    while (count < channel.marks.length && channel.marks[count].done) count++;
    if (count === 0) return;
    channel.position = channel.marks.splice(0, count).at(-1).position;
    channel.saving ??= this.#save(channel);
  }

  /** One at a time: of those that came meanwhile only the newest. */
  async #save(channel) {
    while (channel.position !== undefined) {
      const { position } = channel;
      channel.position = undefined;
      try {
        await this.#store.save(channel.name, position);
      } catch (error) {
        this.#failed(error);
      }
    }
    channel.saving = undefined;
  }

  /** Waits for what is being saved. */
  async settled() {
    await Promise.all([...this.#channels.values()].map(channel => channel.saving));
  }
}

module.exports = { FileReplayStore, Positions };
