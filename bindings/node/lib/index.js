'use strict';

const { EventEmitter } = require('node:events');
const native = require('../build/cometd.node');
const { Inbox } = require('./inbox.js');
const { FileReplayStore, Positions } = require('./replay.js');

const PHASES = [undefined, 'handshake', 'connect', 'subscribe', 'unsubscribe', 'publish', 'disconnect', 'call'];
const CLOSED = { status: -9, code: 'COMETD_E_CLOSED', phase: 7, message: 'the client has closed' };
const STATE = 2, SUBSCRIBED = 3, ERROR = 6, DROPPED = 7, END = 8, ADVICE = 10, ROOM = 11;
/** So many messages wait here before the others wait in the library, which has bounds and rules for that. */
const ENOUGH = 1024, FEW = 256;
const MARK = Symbol('replay position');

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

/** The session of a client that has ended, if it ended by giving that. */
function exported(client) {
  try {
    return native.exportSession(client);
  } catch {
    return undefined;
  }
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

const LEVELS = ['off', 'error', 'warn', 'info', 'debug', 'trace'];
const BODIES = 16;

/** Has the library's log lines, of all clients of the process, given to a function; null ends that. */
function log(listener, { level = 'info', bodies = false } = {}) {
  const least = LEVELS.indexOf(level);
  if (least < 0) throw new TypeError(`unknown level: ${level}`);
  if (typeof listener !== 'function') native.log(0, undefined);
  else native.log(bodies ? BODIES : least, (number, target, text) => listener({ level: LEVELS[number], target, text }));
}

class Client extends EventEmitter {
  #native;
  #providers;
  #extensions;
  #positions;
  #loaded = new Set();
  #state = 'idle';
  #closed = false;
  #fatal;
  #referenced = true;
  #connecting = false;
  #waits = 0;
  #calls = new Set();
  #inbox = new Inbox();
  #streams = [];
  #inboxes = new Map(); // of channels, while there are streams
  #waiting = 0; // messages of all inboxes
  #full = false;
  #exporting = false;
  #exported;
  #ends = [];

  constructor(url, options = {}) {
    super();
    const { tokenProvider, handshakeProvider, headerProvider, extensions = [], replayStore, ...rest } = options;
    if (replayStore !== undefined) {
      rest.replay ??= 'new';
      this.#positions = this.#positionsOf(replayStore);
      const given = rest.replayPosition ?? {};
      const positions = typeof given === 'object' && !Array.isArray(given) ? Object.keys(given)
        : [given].flat().map(text => text.split('=')[0]);
      for (const channel of positions) this.#loaded.add(channel.split('?')[0]);
    }
    this.#extensions = [...extensions];
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
      String(url), texts, (tokenProvider ? 1 : 0) | (handshakeProvider ? 2 : 0) | (headerProvider ? 4 : 0) |
        (extensions.length > 0 ? 8 : 0),
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
    const loads = this.#positions === undefined ? [] : this.#load([channels].flat());
    // Without a load that takes time the call is made now, within a batch too.
    if (loads.length > 0) await this.#wait(Promise.all(loads), signal);
    return this.#called(native.subscribe(this.#open(), [channels].flat()), signal);
  }

  async unsubscribe(channels, { signal } = {}) {
    signal?.throwIfAborted();
    return this.#called(native.unsubscribe(this.#open(), [channels].flat()), signal);
  }

  async publish(channel, data, { signal, attempts = 0, timeoutMs = -1 } = {}) {
    signal?.throwIfAborted();
    return this.#called(native.publish(this.#open(), channel, JSON.stringify(data), timeoutMs, attempts), signal);
  }

  async publishBinary(channel, bytes, { signal, last = true, meta } = {}) {
    signal?.throwIfAborted();
    const json = meta === undefined ? undefined : JSON.stringify(meta);
    return this.#called(native.publishBinary(this.#open(), channel, bytes, last, json), signal);
  }

  async call(channel, data, { signal, timeoutMs = 10000 } = {}) {
    signal?.throwIfAborted();
    return JSON.parse(await this.#called(native.call(this.#open(), channel, JSON.stringify(data), timeoutMs), signal));
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

  /** Waits for the outcomes of all that was called; an error when publishes have failed since the last flush. */
  async flush({ signal, timeoutMs = 10000 } = {}) {
    signal?.throwIfAborted();
    let done, undelivered, limit;
    try {
      done = native.flush(this.#open());
    } catch (error) {
      if (error.code !== 'COMETD_E_UNDELIVERED') throw error;
      undelivered = error;
    }
    // Outcomes that the library has are still to be read.
    const settled = Promise.allSettled([...this.#calls]);
    const late = new Promise(resolve => { limit = setTimeout(resolve, timeoutMs); });
    try {
      await this.#wait(Promise.race([settled, late]), signal);
    } finally {
      clearTimeout(limit);
    }
    if (undelivered) throw undelivered;
    if (!done && !native.flush(this.#open())) {
      const message = 'calls still wait for their outcome';
      throw new CometDError({ status: -20, code: 'COMETD_E_TIMEOUT', phase: 7, message });
    }
  }

  get lastError() { return this.#closed ? this.#fatal : native.lastError(this.#native); }

  /** Ends the client, and gives its session as a text for the option resume. It is a secret like a password. */
  async export({ timeoutMs = 10000 } = {}) {
    this.#exporting = true;
    for (const end = Date.now() + timeoutMs; ;) {
      if (this.#exported !== undefined) return this.#exported;
      try {
        return native.exportSession(this.#open());
      } catch (error) {
        if (error.code !== 'COMETD_E_TIMEOUT' || Date.now() >= end) throw error;
      }
      await new Promise(resolve => { setTimeout(resolve, 5); });
    }
  }

  setAuthorization(value) { native.setAuthorization(this.#open(), value); }

  setReplayPosition(channel, position) { native.setReplayPosition(this.#open(), channel, position); }

  /** The messages of all subscriptions, each once, whoever asks; with a pattern those alone that match. */
  messages({ signal, pattern } = {}) {
    let done = false, last;
    let stream, inbox = this.#inbox;
    const waiting = new Set();
    const end = { value: undefined, done: true };
    if (pattern !== undefined) {
      if (!native.channelMatches(pattern, pattern)) throw new TypeError(`no channel or pattern: ${pattern}`);
      inbox = new Inbox();
      stream = { pattern, inbox };
      this.#streams.push(stream);
      this.#inboxes.clear();
    }
    const given = message => {
      last = message;
      return { value: message, done: false };
    };
    const iterator = {
      next: () => {
        if (signal?.aborted) return Promise.reject(signal.reason);
        if (last !== undefined) this.done(last);
        last = undefined;
        if (done) return Promise.resolve(end);
        if (inbox.size > 0) return Promise.resolve(given(this.#take(inbox)));
        if (this.#closed) {
          done = true;
          return this.#fatal ? Promise.reject(this.#fatal) : Promise.resolve(end);
        }
        let reader;
        const next = new Promise((resolve, reject) => {
          const resolveWith = message => {
            waiting.delete(reader);
            resolve(message === undefined ? end : given(message));
          };
          reader = { resolve: resolveWith, reject };
          waiting.add(reader);
          inbox.readers.push(reader);
        });
        return this.#wait(next, signal, () => {
          waiting.delete(reader);
          return inbox.remove(reader);
        });
      },
      return: () => {
        done = true;
        for (const reader of waiting) {
          if (inbox.remove(reader)) reader.resolve(undefined);
        }
        if (stream !== undefined) this.#leave(stream);
        return Promise.resolve(end);
      },
      [Symbol.asyncIterator]() { return this; },
    };
    return iterator;
  }

  /** For a replay store: the program is done with the message, as it is when it asks for the next one. */
  done(message) {
    if (message[MARK] !== undefined) this.#positions.done(message[MARK]);
  }

  [Symbol.asyncIterator]() { return this.messages(); }

  /** Sends what was accepted, ends the session, and resolves when the client has closed. */
  async disconnect({ timeoutMs = 10000 } = {}) {
    if (this.#closed) return this.#positions?.settled();
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
    await this.#positions?.settled();
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

  /** Keeps the client alive while a promise waits, which a signal may give up earlier: not when that gives false. */
  #wait(promise, signal, given_up) {
    if (this.#waits++ === 0) awaited.add(this);
    let waits = true;
    const settled = () => {
      if (waits && --this.#waits === 0) awaited.delete(this);
      waits = false;
    };
    promise.then(settled, settled);
    if (signal === undefined) return promise;
    return new Promise((resolve, reject) => {
      const abort = () => {
        if (given_up !== undefined) {
          if (given_up() === false) return;
          // Nothing settles it any more.
          settled();
        }
        reject(signal.reason);
      };
      signal.addEventListener('abort', abort, { once: true });
      const forget = () => signal.removeEventListener('abort', abort);
      promise.then(value => { forget(); resolve(value); }, error => { forget(); reject(error); });
    });
  }

  /** A call: what flush waits for. */
  #called(promise, signal) {
    this.#calls.add(promise);
    const settled = () => { this.#calls.delete(promise); };
    promise.then(settled, settled);
    return this.#wait(promise, signal);
  }

  /** Not in the constructor: what its functions share must not have this. */
  #positionsOf(store) {
    return new Positions(store, error => this.#failed('save of the replay store', error));
  }

  /** Has the subscribes of these channels start where the store says. Returns what of that takes time. */
  #load(channels) {
    const loads = [];
    for (const channel of channels) {
      const name = channel.split('?')[0];
      if (name.includes('*') || this.#loaded.has(name)) continue;
      this.#loaded.add(name);
      const set = position => {
        if (position !== undefined && position !== null && !this.#closed) this.setReplayPosition(name, position);
      };
      const failed = error => {
        this.#loaded.delete(name);
        throw error;
      };
      try {
        const position = this.#positions.load(name);
        if (typeof position?.then === 'function') loads.push(position.then(set).catch(failed));
        else set(position);
      } catch (error) {
        failed(error);
      }
    }
    return loads;
  }

  #take(inbox) {
    const message = inbox.take();
    this.#waiting--;
    if (this.#full && this.#waiting < FEW) {
      this.#full = false;
      if (!this.#closed) native.resume(this.#native);
    }
    return message;
  }

  #put(inbox, message) {
    if (inbox.put(message)) this.#waiting++;
  }

  /** Where the messages of a channel wait: with the first stream whose pattern it matches, or with all others. */
  #inboxOf(channel) {
    let inbox = this.#inboxes.get(channel);
    if (inbox === undefined) {
      inbox = this.#streams.find(({ pattern }) => native.channelMatches(pattern, channel))?.inbox ?? this.#inbox;
      if (this.#inboxes.size >= 10000) this.#inboxes.clear();
      this.#inboxes.set(channel, inbox);
    }
    return inbox;
  }

  /** What is left of an iteration that has ended goes to the others. */
  #leave(stream) {
    const place = this.#streams.indexOf(stream);
    if (place < 0) return;
    this.#streams.splice(place, 1);
    this.#inboxes.clear();
    while (stream.inbox.size > 0) {
      const message = this.#take(stream.inbox);
      this.#put(this.#inboxOf(message.channel), message);
    }
    for (const reader of stream.inbox.readers.splice(0)) reader.resolve(undefined);
  }

  /** Something of the program's has thrown, where no caller waits. */
  #failed(what, cause) {
    const error = new CometDError({
      status: -14, code: 'COMETD_E_SYSTEM', phase: 0, message: `${what} has failed: ${cause?.message ?? cause}`,
    });
    error.cause = cause;
    tell(this, 'failure', error);
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
      const binaryAt = at;
      if (binary) at += 3;
      if (events[at] !== 0) channel = events[at];
      const message = { channel, data: events[at + 1] };
      if (events[at + 2] !== null) message.id = events[at + 2];
      if (events[at + 3] !== null) message.ext = events[at + 3];
      if (binary) {
        message.bytes = bytes[taken++];
        message.last = events[binaryAt + 1];
        if (events[binaryAt + 2] !== null) message.meta = events[binaryAt + 2];
      }
      at += 4;
      if (this.#positions !== undefined) {
        const mark = this.#positions.read(message);
        if (mark !== undefined) Object.defineProperty(message, MARK, { value: mark });
      }
      this.#put(this.#streams.length === 0 ? this.#inbox : this.#inboxOf(channel), message);
    }
    this.#full = this.#waiting >= ENOUGH;
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
        if (this.#exporting) this.#exported = exported(this.#native);
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
    for (const { readers } of [this.#inbox, ...this.#streams.map(({ inbox }) => inbox)]) {
      for (const { resolve, reject } of readers.splice(0)) {
        if (this.#fatal) reject(this.#fatal);
        else resolve(undefined);
      }
    }
    this.#settle();
    tell(this, 'closed', this.#fatal);
  }

  /** A provider answers later, or throws: that is the reason why there are no credentials. */
  async #ask({ kind, ...about }, question) {
    try {
      if (kind === 'extension') return native.answer(question, await this.#extend(about.incoming === 1, about.message));
      const given = await this.#providers[kind](kind === 'token' ? about.reason : about);
      if (kind === 'token') native.answer(question, [String(given)]);
      else if (kind === 'handshake') native.answer(question, [JSON.stringify(given ?? {})]);
      else native.answer(question, Object.entries(given ?? {}).flat().map(String));
    } catch (error) {
      native.answer(question, undefined, String(error?.message ?? error).split(/[\n\0]/, 1)[0]);
    }
  }

  /** The answer to the addon: nothing, another message, or null. What an extension throws is told, and the others go on. */
  async #extend(incoming, message) {
    const before = JSON.stringify(message);
    const direction = incoming ? 'incoming' : 'outgoing';
    for (const extension of incoming ? this.#extensions : [...this.#extensions].reverse()) {
      if (extension[direction] === undefined) continue;
      const kept = JSON.stringify(message);
      try {
        const given = await extension[direction](message);
        if (given === null) return [null];
        message = given ?? message;
        JSON.stringify(message);
      } catch (error) {
        message = JSON.parse(kept);
        this.#failed(`an extension for ${direction} messages`, error);
      }
    }
    const after = JSON.stringify(message);
    return after === before ? [] : [after];
  }
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Client.prototype, Symbol.asyncDispose, {
    value() { return this.disconnect(); }, configurable: true, writable: true,
  });
}

module.exports = {
  Client, CometDError, FileReplayStore, channelMatches: native.channelMatches, log, options: native.options,
  version: native.version,
};
