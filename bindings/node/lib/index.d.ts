/// <reference types="node" />
import { EventEmitter } from 'node:events';
import { LibraryOptions } from '../build/options';

export type State =
  | 'idle' | 'handshaking' | 'connecting' | 'connected' | 'unconnected' | 'rehandshaking' | 'disconnecting' | 'closed';

export type Phase = 'handshake' | 'connect' | 'subscribe' | 'unsubscribe' | 'publish' | 'disconnect' | 'call';

export interface Handshake {
  /** 1 for the first one since the last session that worked. */
  readonly attempt: number;
  /** The reply that refused the last one; it may hold a challenge. */
  readonly refusal?: unknown;
}

export interface Request {
  /** 0 for one that opens a WebSocket; else a COMETD_PHASE_… of cometd.h. */
  readonly phase: number;
  readonly method: string;
  readonly url: string;
  readonly body?: string;
}

/** A message as it is on the wire. */
export interface BayeuxMessage {
  channel: string;
  [field: string]: any;
}

/**
 * Sees each message, of every kind, and changes it, gives another one, or null to drop it; later too, for up to 60
 * seconds. What it throws is told as a `failure`, and the message goes on as it was.
 */
export interface Extension {
  outgoing?(message: BayeuxMessage): Extended | Promise<Extended>;
  incoming?(message: BayeuxMessage): Extended | Promise<Extended>;
}
export type Extended = BayeuxMessage | null | undefined | void;

/** Where positions of channels are kept. What `load` throws fails the subscribe, what `save` throws is a `failure`. */
export interface ReplayStore {
  load(channel: string): number | undefined | null | Promise<number | undefined | null>;
  save(channel: string, position: number): void | Promise<void>;
}

/** Positions in a JSON file, which is replaced with each of them. */
export class FileReplayStore implements ReplayStore {
  constructor(path: string);
  load(channel: string): number | undefined;
  save(channel: string, position: number): Promise<void>;
}

/** Providers have 60 seconds. What they throw is the reason in the client's error. */
export interface ClientOptions extends LibraryOptions {
  /** Asked when the server refuses the credentials; gives the value of the header Authorization, "Bearer …". */
  tokenProvider?: (reason: number) => string | Promise<string>;
  /** Asked before each handshake; gives fields of its message, such as ext. */
  handshakeProvider?: (handshake: Handshake) => object | undefined | Promise<object | undefined>;
  /** Asked before each HTTP request; gives headers. */
  headerProvider?: (request: Request) => Readonly<Record<string, string>> | undefined
    | Promise<Readonly<Record<string, string>> | undefined>;
  /** Incoming messages meet them in this order, outgoing ones in the reverse order. */
  extensions?: readonly Extension[];
  /** Keeps how far the program is; turns the option replay on. */
  replayStore?: ReplayStore;
}

export interface Message<Data = unknown> {
  readonly channel: string;
  readonly data: Data;
  readonly id?: string | number;
  readonly ext?: unknown;
  /** Of a message of CometD's binary extension. */
  readonly bytes?: Buffer;
  /** Whether no other part belongs behind the bytes, and what they say of themselves. */
  readonly last?: boolean;
  readonly meta?: unknown;
}

/** Where a signal aborts a call, only the waiting ends: the server may see it, or have seen it. */
export interface CallOptions {
  signal?: AbortSignal;
}

export interface Events {
  state: [state: State, previous: State];
  /** Something failed; unless it is fatal, it is tried again, after retryInMs. */
  failure: [error: CometDError];
  /** The session was lost, and in the new one this subscription is back. */
  resubscribed: [channel: string];
  /** So many messages were dropped because of the option overflow. */
  dropped: [count: number, channel: string | undefined];
  advice: [advice: unknown];
  /** After a call was refused with COMETD_E_FULL: there is room again. */
  room: [];
  /** The end; with an error unless it was asked for. */
  closed: [error: CometDError | undefined];
}

/** One session with one server. While it is connected, it keeps the process alive. */
export class Client implements AsyncIterable<Message> {
  constructor(url: string | URL, options?: ClientOptions);

  readonly state: State;
  readonly sessionId: string | undefined;
  /** Why the client is not connected. */
  readonly lastError: CometDError | undefined;

  /** Resolves with the first connect that succeeds. Failures before it are tried again. */
  connect(options?: CallOptions): Promise<void>;
  /** Resolves when the server has accepted all; the subscriptions outlive sessions. */
  subscribe(channels: string | readonly string[], options?: CallOptions): Promise<void>;
  unsubscribe(channels: string | readonly string[], options?: CallOptions): Promise<void>;
  /** Resolves when the server has accepted it. With `attempts` it is sent again after failures, until `timeoutMs`. */
  publish(channel: string, data: unknown, options?: CallOptions & { attempts?: number; timeoutMs?: number }): Promise<void>;
  /** Bytes by CometD's binary extension. */
  publishBinary(channel: string, bytes: Uint8Array, options?: CallOptions & { last?: boolean; meta?: object }): Promise<void>;
  /** A remote call: resolves with the data of the answer. `timeoutMs` is 10000 by default. */
  call<Data = unknown>(channel: string, data: unknown, options?: CallOptions & { timeoutMs?: number }): Promise<Data>;
  /** What is called inside goes out in one request. */
  batch<Result>(calls: () => Result): Result;

  /**
   * The messages of all subscriptions. Each is given once, whichever iteration takes it. The iteration ends with the
   * client, by an error if that was fatal. With a pattern, "/a/*", it has those that match, which the others get no more,
   * until it is left. Who is slow makes the server wait (option overflow), unless a call waits.
   */
  messages<Data = any>(options?: CallOptions & { pattern?: string }): AsyncIterableIterator<Message<Data>>;
  [Symbol.asyncIterator](): AsyncIterableIterator<Message<any>>;
  /** For a replay store: the program is done with the message, as it is when it asks for the next one. */
  done(message: Message<any>): void;

  /** Resolves when all that was called has its outcome; rejects when publishes have failed since the last flush. */
  flush(options?: CallOptions & { timeoutMs?: number }): Promise<void>;
  /** Ends the client, and gives its session for the option `resume` of another one. It is a secret like a password. */
  export(options?: { timeoutMs?: number }): Promise<string>;
  /** Sends what was accepted, ends the session, and resolves when the client has closed. `timeoutMs` is 10000 by default. */
  disconnect(options?: { timeoutMs?: number }): Promise<void>;
  /** Ends the client at once, without a word to the server. */
  destroy(): void;
  /** Lets the process end although the client is connected. */
  unref(): this;
  ref(): this;

  setAuthorization(value: string): void;
  setReplayPosition(channel: string, position: number): void;
  statistics(): Record<string, unknown>;

  on<Name extends keyof Events>(name: Name, listener: (...values: Events[Name]) => void): this;
  once<Name extends keyof Events>(name: Name, listener: (...values: Events[Name]) => void): this;
  off<Name extends keyof Events>(name: Name, listener: (...values: Events[Name]) => void): this;
}
/** Where Symbol.asyncDispose exists, `await using` disconnects. */
export interface Client extends EventEmitter {}

export class CometDError extends Error {
  /** COMETD_E_… of cometd.h, and its number. */
  readonly code: string;
  readonly status: number;
  readonly phase: Phase | undefined;
  readonly channel: string | undefined;
  readonly httpStatus: number | undefined;
  readonly websocketCode: number | undefined;
  /** When it is tried again; undefined: never. */
  readonly retryInMs: number | undefined;
  /** As the server wrote it, "403::denied", and the number in front. */
  readonly bayeux: string | undefined;
  readonly bayeuxCode: number | undefined;
  readonly ext: unknown;
  readonly client: string | undefined;
  readonly url: string | undefined;
  /** The client has closed because of it. */
  readonly fatal: boolean;
  /** What a service gave with its failure. */
  readonly data: unknown;
}

export interface Option {
  readonly name: string;
  readonly setter: string;
  readonly type: string;
  readonly unit?: string;
  readonly range: string;
  readonly text: string;
  readonly default?: string;
}

/** The options as the library knows them. */
export function options(): Option[];
export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

export interface LogLine {
  readonly level: LogLevel;
  /** The part of the library that it comes from, "cometd::session". */
  readonly target: string;
  readonly text: string;
}

/** Has the log lines of all clients of the process given to a function, with `bodies` what travels as well; null ends that. */
export function log(listener: ((line: LogLine) => void) | null, options?: { level?: LogLevel; bodies?: boolean }): void;
/** Whether a subscription to a pattern, "/a/*" or "/a/**", gets the messages of a channel. */
export function channelMatches(pattern: string, channel: string): boolean;
/** The version of the library. */
export function version(): string;
