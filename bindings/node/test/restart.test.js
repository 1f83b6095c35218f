'use strict';
// Replay positions, and sessions, that outlive a client.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');
const { Client, FileReplayStore } = require('..');
const { start, until } = require('./server.js');

const quick = ['--timeout-ms', '3000', '--tick-ms', '0'];

function memory(asynchronous) {
  const positions = new Map();
  return {
    positions,
    saved: [],
    load(channel) { return asynchronous ? Promise.resolve(positions.get(channel)) : positions.get(channel); },
    save(channel, position) {
      this.saved.push([channel, position]);
      positions.set(channel, position);
    },
  };
}

async function take(server, count, options) {
  const client = new Client(server.url, { replay: 'all', backoffMs: [10, 100], ...options });
  await client.connect();
  await client.subscribe('/event/a');
  const numbers = [];
  for await (const message of client) {
    numbers.push(message.data.n);
    if (numbers.length === count) {
      client.done(message);
      break;
    }
  }
  await client.disconnect();
  return numbers;
}

test('a file has what the program was done with', async () => {
  const server = await start(...quick);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cometd-'));
  try {
    const file = path.join(folder, 'positions.json');
    await server.control('/publish?channel=/event/a&count=10');
    assert.deepEqual(await take(server, 3, { replayStore: new FileReplayStore(file) }), [0, 1, 2]);
    assert.deepEqual(await take(server, 3, { replayStore: new FileReplayStore(file) }), [3, 4, 5]);
    assert.deepEqual(Object.keys(JSON.parse(fs.readFileSync(file, 'utf8'))), ['/event/a']);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

test('a message whose handling failed comes again', async () => {
  const server = await start(...quick);
  await server.control('/publish?channel=/event/a&count=10');
  const replayStore = memory(true);
  const seen = [];
  for (const last of [2, 4]) {
    const client = new Client(server.url, { replay: 'all', replayStore });
    await client.connect();
    await client.subscribe('/event/a');
    await assert.rejects(async () => {
      for await (const message of client) {
        seen.push(message.data.n);
        if (message.data.n === last) throw new Error('no disk');
      }
    }, /no disk/);
    await client.disconnect();
  }
  assert.deepEqual(seen, [0, 1, 2, 2, 3, 4]);
});

test('an older message that is not done holds newer ones back', async () => {
  const server = await start(...quick);
  const replayStore = memory(false);
  const client = new Client(server.url, { replayStore });
  await client.connect();
  await client.subscribe('/event/a');
  const [first, second] = [client.messages(), client.messages()];
  await server.control('/publish?channel=/event/a&count=4');
  await first.next();
  await second.next();
  await second.next();
  await second.next();
  assert.deepEqual(replayStore.saved, []);
  first.next();
  await until(() => replayStore.saved.length > 0);
  assert.equal(replayStore.saved[0][0], '/event/a');
  await client.disconnect();
});

test('a store that throws is told', async () => {
  const server = await start(...quick);
  const client = new Client(server.url, { replayStore: {
    load: channel => { if (channel === '/event/b') throw new Error('no disk to load from'); },
    save: () => Promise.reject(new Error('no disk to save to')),
  } });
  const failures = [];
  client.on('failure', error => failures.push(error));
  await client.connect();
  await assert.rejects(client.subscribe('/event/b'), /no disk to load from/);
  await client.subscribe('/event/a');
  await server.control('/publish?channel=/event/a');
  client.done((await client.messages().next()).value);
  await until(() => failures.length > 0);
  assert.equal(failures[0].cause.message, 'no disk to save to');
  await client.disconnect();
});

test('a session goes on in another client', async () => {
  const server = await start(...quick);
  const client = new Client(server.url, { acknowledgement: true });
  await client.connect();
  await client.subscribe('/a');
  const id = client.sessionId;
  const session = await client.export();
  const next = new Client(server.url, { acknowledgement: true, resume: session });
  await next.connect();
  assert.equal(next.sessionId, id);
  await server.control('/publish?channel=/a');
  assert.equal((await next.messages().next()).value.channel, '/a');
  await next.disconnect();
  await until(() => client.state === 'closed');
  await assert.rejects(new Client(server.url).export(), { code: 'COMETD_E_INVALID_STATE' });
});
