'use strict';

const { EventEmitter } = require('node:events');
const native = require('../build/cometd.node');

const PHASES = [undefined, 'handshake', 'connect', 'subscribe', 'unsubscribe', 'publish', 'disconnect', 'call'];
const CLOSED = { status: -9, code: 'COMETD_E_CLOSED', phase: 7, message: 'the client has closed' };
const STATE = 2, SUBSCRIBED = 3, ERROR = 6, DROPPED = 7, END = 8, ADVICE = 10, ROOM = 11;
/** So many messages wait here before the others wait in the library, which has bounds and rules for that. */
const ENOUGH = 1024, FEW = 256;

class CometDError extends Error {
  constructor(fields) {
    super(fields.message);
    this.name = 'CometDError';
    this.code = fields.code;
    this.status = fields.status;
    this.phase = PHASES[fields.phase];
    this.channel = fields.channel;
    this.httpStatus = fields.httpStatus || undefined;
    this.websocketCode = fields.websocketCode || undefined;
    this.retryInMs = fields.retryInMs >= 0 ? fields.retryInMs : undefined;
    this.bayeux = fields.bayeux;
    this.bayeuxCode = fields.bayeuxCode || undefined;
    this.ext = fields.ext;
    this.client = fields.client;
    this.url = fields.url;
    this.fatal = fields.fatal === true;
    this.data = fields.data;
  }
}

/** For the addon: an error as JSON, and the data of a remote call that has failed. */
function failure(json, data) {
  const fields = JSON.parse(json);
  if (data !== undefined) fields.data = JSON.parse(data);
  return new CometDError(fields);
}

/** The client reads events by the receiver that it could be built without. */
const OPTIONS = new Map(native.options().filter(option => option.name !== 'own_receiver').map(option => [
  option.name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()),
  option,
]));

const SEPARATORS = { header: ': ', cookie: '=', replayPosition: '=' };

/** The values of an option as the library takes them: as text, and one by one of an option that can be set several times. */
function values(name, option, value) {
  if (value === undefined) return [];
  if (option.type === 'json') return [typeof value === 'string' ? value : JSON.stringify(value)];
  if (option.type !== 'text') return [value === Infinity ? 'forever' : String(value)];
  if (typeof value === 'object' && !Array.isArray(value) && name in SEPARATORS) {
    return Object.entries(value).map(([key, one]) => key + SEPARATORS[name] + one);
  }
  return [value].flat().map(String);
}

/** Clients that somebody waits for: these are not collected, whoever else has forgotten them. */
const awaited = new Set();

/** What a listener throws ends in 'uncaughtException', as anywhere, and the other events are told. */
function tell(emitter, name, ...values) {
  try {
    emitter.emit(name, ...values);
  } catch (error) {
    process.nextTick(() => { throw error; });
  }
}

class Client extends EventEmitter {
  #native;
  #providers;
  #state = 'idle';
  #closed = false;
  #fatal;
  #referenced = true;
  #connecting = false;
  #waits = 0;
  #queue = [];
  #taken = 0;
  #full = false;
  #readers = [];
  #ends = [];

  constructor(url, options = {}) {
    super();
    const { tokenProvider, handshakeProvider, headerProvider, ...rest } = options;
    const texts = [];
    for (const [name, value] of Object.entries(rest)) {
      const option = OPTIONS.get(name);
      if (option === undefined) throw new TypeError(`unknown option: ${name}`);
      for (const text of values(name, option, value)) texts.push(option.name, text);
    }
    this.#providers = { token: tokenProvider, handshake: handshakeProvider, request: headerProvider };
    // The addon must not keep alive what it belongs to.
    const self = new WeakRef(this);
    this.#native = native.create(
      String(url), texts, (tokenProvider ? 1 : 0) | (handshakeProvider ? 2 : 0) | (headerProvider ? 4 : 0),
      (json, bytes) => self.deref()?.#deliver(json, bytes),
      (json, question) => {
        const client = self.deref();
        if (client === undefined) native.answer(question, undefined, 'the client was collected');
        else client.#ask(JSON.parse(json), question);
      },
      failure);
  }

  get state() { return this.#state; }

  get sessionId() { return this.#closed ? undefined : native.sessionId(this.#native); }

  statistics() { return JSON.parse(native.statistics(this.#open())); }

  /** Resolves with the first connect that succeeds. */
  async connect({ signal } = {}) {
    signal?.throwIfAborted();
    native.connect(this.#open());
    this.#connecting = true;
    native.keep(this.#native, this.#referenced);
    const connected = new Promise((resolve, reject) => {
      const settle = () => {
        if (this.#state === 'connected') resolve();
        else if (this.#closed) reject(this.#fatal ?? new CometDError(CLOSED));
        else return;
        this.#ends.splice(this.#ends.indexOf(settle), 1);
      };
      this.#ends.push(settle);
    });
    return this.#wait(connected, signal);
  }

  async subscribe(channels, { signal } = {}) {
    signal?.throwIfAborted();
    return this.#wait(native.subscribe(this.#open(), [channels].flat()), signal);
  }

  async unsubscribe(channels, { signal } = {}) {
    signal?.throwIfAborted();
    return this.#wait(native.unsubscribe(this.#open(), [channels].flat()), signal);
  }

  async publish(channel, data, { signal, attempts = 0, timeoutMs = 0 } = {}) {
    signal?.throwIfAborted();
    return this.#wait(native.publish(this.#open(), channel, JSON.stringify(data), timeoutMs, attempts), signal);
  }

  async publishBinary(channel, bytes, { signal, last = true, meta } = {}) {
    signal?.throwIfAborted();
    const json = meta === undefined ? undefined : JSON.stringify(meta);
    return this.#wait(native.publishBinary(this.#open(), channel, bytes, last, json), signal);
  }

  async call(channel, data, { signal, timeoutMs = 10000 } = {}) {
    signal?.throwIfAborted();
    return JSON.parse(await this.#wait(native.call(this.#open(), channel, JSON.stringify(data), timeoutMs), signal));
  }

  /** What is called inside goes out in one request. */
  batch(calls) {
    native.batchBegin(this.#open());
    try {
      return calls();
    } finally {
      if (!this.#closed) native.batchEnd(this.#native);
    }
  }

  setAuthorization(value) { native.setAuthorization(this.#open(), value); }

  setReplayPosition(channel, position) { native.setReplayPosition(this.#open(), channel, position); }

  /** The messages of all subscriptions, each once, whoever asks. */
  messages({ signal } = {}) {
    let done = false;
    const end = { value: undefined, done: true };
    const iterator = {
      next: () => {
        if (signal?.aborted) return Promise.reject(signal.reason);
        if (done) return Promise.resolve(end);
        if (this.#taken < this.#queue.length) return Promise.resolve({ value: this.#take(), done: false });
        if (this.#closed) {
          done = true;
          return this.#fatal ? Promise.reject(this.#fatal) : Promise.resolve(end);
        }
        let reader;
        const next = new Promise((resolve, reject) => {
          reader = { resolve, reject };
          this.#readers.push(reader);
        });
        return this.#wait(next, signal, () => {
          const place = this.#readers.indexOf(reader);
          if (place >= 0) this.#readers.splice(place, 1);
        });
      },
      return: () => {
        done = true;
        return Promise.resolve(end);
      },
      [Symbol.asyncIterator]() { return this; },
    };
    return iterator;
  }

  [Symbol.asyncIterator]() { return this.messages(); }

  /** Sends what was accepted, ends the session, and resolves when the client has closed. */
  async disconnect({ timeoutMs = 10000 } = {}) {
    if (this.#closed) return;
    const closed = new Promise(resolve => {
      const settle = () => {
        if (!this.#closed) return;
        this.#ends.splice(this.#ends.indexOf(settle), 1);
        resolve();
      };
      this.#ends.push(settle);
    });
    native.disconnect(this.#native);
    // Also a client that keeps nothing alive is waited for now.
    native.keep(this.#native, true);
    const limit = setTimeout(() => this.destroy(), timeoutMs);
    try {
      await this.#wait(closed);
    } finally {
      clearTimeout(limit);
    }
  }

  /** Ends the client at once, without a word to the server. */
  destroy() {
    if (!this.#closed) this.#end();
  }

  /** Lets the process end although the client is connected. */
  unref() {
    this.#referenced = false;
    if (!this.#closed) native.keep(this.#native, false);
    return this;
  }

  ref() {
    this.#referenced = true;
    if (!this.#closed && this.#connecting) native.keep(this.#native, true);
    return this;
  }

  #open() {
    if (this.#closed) throw new CometDError(CLOSED);
    return this.#native;
  }

  /** Keeps the client alive while a promise waits, which a signal may give up earlier. */
  #wait(promise, signal, given_up) {
    if (this.#waits++ === 0) awaited.add(this);
    const settled = () => {
      if (--this.#waits === 0) awaited.delete(this);
    };
    promise.then(settled, settled);
    if (signal === undefined) return promise;
    return new Promise((resolve, reject) => {
      const abort = () => {
        given_up?.();
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      const forget = () => signal.removeEventListener('abort', abort);
      promise.then(value => { forget(); resolve(value); }, error => { forget(); reject(error); });
    });
  }

  #take() {
    const message = this.#queue[this.#taken];
    this.#queue[this.#taken++] = undefined;
    if (this.#taken === this.#queue.length) {
      this.#queue = [];
      this.#taken = 0;
    }
    if (this.#full && this.#queue.length - this.#taken < FEW) {
      this.#full = false;
      if (!this.#closed) native.resume(this.#native);
    }
    return message;
  }

  /** Of the addon: events as a JSON array, and the bytes of binary messages. Returns whether it should wait with more. */
  #deliver(json, bytes) {
    let events;
    try {
      events = JSON.parse(json);
    } catch (error) {
      const message = `messages that JSON.parse does not take: ${error.message}`;
      tell(this, 'failure', new CometDError({ status: -30, code: 'COMETD_E_NOT_JSON', phase: 2, message }));
      return this.#full;
    }
    let channel, taken = 0;
    for (let at = 0; at < events.length;) {
      if (events[at] === 1) {
        this.#happened(events[at + 1]);
        at += 2;
        continue;
      }
      const binary = events[at] === 2;
      if (binary) at++;
      if (events[at] !== 0) channel = events[at];
      const message = { channel, data: events[at + 1] };
      if (events[at + 2] !== null) message.id = events[at + 2];
      if (events[at + 3] !== null) message.ext = events[at + 3];
      if (binary) message.bytes = bytes[taken++];
      at += 4;
      const reader = this.#readers.shift();
      if (reader === undefined) this.#queue.push(message);
      else reader.resolve({ value: message, done: false });
    }
    this.#full = this.#queue.length - this.#taken >= ENOUGH;
    return this.#full;
  }

  #happened(event) {
    switch (event.type) {
      case STATE:
        this.#state = event.state.toLowerCase();
        this.#settle();
        tell(this, 'state', this.#state, event.previous.toLowerCase());
        break;
      case SUBSCRIBED:
        tell(this, 'resubscribed', event.channel);
        break;
      case ERROR: {
        const error = new CometDError(event.error);
        if (error.fatal) this.#fatal = error;
        tell(this, 'failure', error);
        break;
      }
      case DROPPED:
        tell(this, 'dropped', event.dropped, event.channel);
        break;
      case ADVICE:
        tell(this, 'advice', event.advice);
        break;
      case ROOM:
        tell(this, 'room');
        break;
      case END:
        this.#end();
        break;
      default: // of a newer library
    }
  }

  #settle() {
    for (const settle of [...this.#ends]) settle();
  }

  #end() {
    this.#closed = true;
    this.#state = 'closed';
    native.destroy(this.#native, new CometDError(CLOSED));
    for (const { resolve, reject } of this.#readers.splice(0)) {
      if (this.#fatal) reject(this.#fatal);
      else resolve({ value: undefined, done: true });
    }
    this.#settle();
    tell(this, 'closed', this.#fatal);
  }

  /** A provider answers later, or throws: that is the reason why there are no credentials. */
  async #ask({ kind, ...about }, question) {
    try {
      const given = await this.#providers[kind](kind === 'token' ? about.reason : about);
      if (kind === 'token') native.answer(question, [String(given)]);
      else if (kind === 'handshake') native.answer(question, [JSON.stringify(given ?? {})]);
      else native.answer(question, Object.entries(given ?? {}).flat().map(String));
    } catch (error) {
      native.answer(question, undefined, String(error?.message ?? error).split('\n', 1)[0]);
    }
  }
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Client.prototype, Symbol.asyncDispose, {
    value() { return this.disconnect(); }, configurable: true, writable: true,
  });
}

module.exports = { Client, CometDError, options: native.options, version: native.version };
