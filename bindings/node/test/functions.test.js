'use strict';
// Functions of the program's, and what a client has besides messages and calls.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const test = require('node:test');
const { Worker } = require('node:worker_threads');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { Client, channelMatches, log } = require('..');
const { start, until } = require('./server.js');

const quick = ['--timeout-ms', '3000', '--tick-ms', '0'];

async function connected(server, options) {
  const client = new Client(server.url, { backoffMs: [10, 100], ...options });
  await client.connect();
  return client;
}

test('extensions change and drop messages, now or later', async () => {
  const server = await start(...quick);
  const order = [];
  const client = await connected(server, { extensions: [
    {
      outgoing(message) {
        order.push(`first ${message.channel}`);
        if (message.channel === '/secret') return null;
        if (message.channel === '/a') message.data = { sent: message.data };
      },
      async incoming(message) {
        await new Promise(setImmediate);
        return message.channel === '/a' && 'data' in message ? { ...message, data: [message.data] } : message;
      },
    },
    { outgoing(message) { order.push(`second ${message.channel}`); } },
  ] });
  assert.deepEqual(order.slice(0, 2), ['second /meta/handshake', 'first /meta/handshake']);
  await client.subscribe('/a');
  await client.publish('/a', 1);
  assert.deepEqual((await client.messages().next()).value.data, [{ sent: 1 }]);
  await assert.rejects(client.publish('/secret', 1), { code: 'COMETD_E_MESSAGE_DELETED' });
  await client.disconnect();
});

test('an extension that throws is told and does no harm', async () => {
  const server = await start(...quick);
  const failures = [];
  const client = new Client(server.url, { extensions: [
    {
      incoming(message) {
        message.data = 'spoilt';
        throw new Error('no memory');
      },
      outgoing: () => Promise.reject(new Error('no memory')),
    },
    { incoming(message) { if (message.channel === '/a' && 'data' in message) message.data++; } },
  ] });
  client.on('failure', error => failures.push(error));
  await client.connect();
  await client.subscribe('/a');
  await client.publish('/a', 1);
  assert.equal((await client.messages().next()).value.data, 2);
  assert(failures.length > 3 && failures.every(error => error.cause.message === 'no memory'));
  await client.disconnect();
});

test('a client is closed while an extension has not answered', async () => {
  const server = await start(...quick);
  let asked;
  const client = new Client(server.url, { extensions: [{ outgoing: () => new Promise(() => { asked = true; }) }] });
  const connecting = assert.rejects(client.connect(), { code: 'COMETD_E_CLOSED' });
  await until(() => asked);
  client.destroy();
  await connecting;
});

test('the process and a worker end while extensions have not answered', async () => {
  const server = await start(...quick);
  const program = path.join(__dirname, 'programs/extension.js');
  const ended = spawnSync(process.execPath, [program, server.url], { encoding: 'utf8', timeout: 60000 });
  assert.deepEqual([ended.status, ended.stderr], [0, '']);
  const worker = new Worker(program, { workerData: server.url });
  await once(worker, 'message');
  await worker.terminate();
});

test('flush waits for outcomes and tells what failed', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  const calls = client.batch(() => Array.from({ length: 10 }, (_, n) => client.publish('/b', n)));
  let done = 0;
  for (const call of calls) call.then(() => done++);
  await client.flush();
  assert.equal(done, 10);
  const failed = assert.rejects(client.publish('/denied/x', 1), { channel: '/denied/x' });
  await assert.rejects(client.flush(), { code: 'COMETD_E_UNDELIVERED' });
  await failed;
  await client.flush();
  await server.control('/fail?status=503&count=2&on=/a');
  await client.publish('/a', 1, { attempts: 5 });
  await client.disconnect();
});

test('channels have iterations of their own', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  await client.subscribe('/**');
  const own = client.messages({ pattern: '/a/*' }), others = client.messages();
  await Promise.all(client.batch(() => ['/a/1', '/b', '/a/2', '/a/3'].map(channel => client.publish(channel, channel))));
  assert.equal((await own.next()).value.data, '/a/1');
  assert.equal((await others.next()).value.data, '/b');
  assert.equal((await own.next()).value.data, '/a/2');
  await own.return();
  assert.equal((await others.next()).value.data, '/a/3');
  assert.equal((await own.next()).done, true);
  assert.throws(() => client.messages({ pattern: 'none' }), TypeError);
  const rest = client.messages({ pattern: '/a/*' }).next();
  await client.disconnect();
  assert.equal((await rest).done, true);
});

test('binary messages say whether they are the last, and what they are', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  await client.subscribe('/a');
  await client.publishBinary('/a', Buffer.from([0, 1, 2]), { last: false, meta: { name: 'x' } });
  await client.publishBinary('/a', Buffer.from([3]));
  const messages = client.messages();
  const [first, second] = [(await messages.next()).value, (await messages.next()).value];
  assert.deepEqual([...first.bytes, first.last, first.meta], [0, 1, 2, false, { name: 'x' }]);
  assert.deepEqual([...second.bytes, second.last, second.meta], [3, true, undefined]);
  await client.disconnect();
});

test('the last error says why a client is not connected', async () => {
  const server = await start(...quick, '--token', 'good');
  const client = new Client(server.url, { bearerToken: 'old', awaitCredentials: true, backoffMs: [10, 100] });
  assert.equal(client.lastError, undefined);
  const connecting = client.connect();
  await once(client, 'failure');
  assert.equal(client.lastError.code, 'COMETD_E_REFUSED');
  client.setAuthorization('Bearer good');
  await connecting;
  assert.equal(client.lastError, undefined);
  await client.disconnect();
});

test('the log comes to a function', async () => {
  const server = await start(...quick);
  const lines = [];
  log(line => lines.push(line), { level: 'debug' });
  const client = await connected(server, { name: 'the one' });
  await client.disconnect();
  await until(() => lines.some(line => line.text.includes('the one')));
  assert(lines.every(line => line.target.startsWith('cometd')));
  assert.deepEqual([...new Set(lines.map(line => line.level))].sort().slice(0, 2), ['debug', 'info']);
  log(null);
  const count = lines.length;
  await (await connected(server)).disconnect();
  assert.equal(lines.length, count);
  assert.throws(() => log(() => {}, { level: 'loud' }), TypeError);
});

test('patterns match channels', () => {
  assert.equal(channelMatches('/a/*', '/a/b'), true);
  assert.equal(channelMatches('/a/*', '/a/b/c'), false);
});

test('a client whose reader was aborted is collected', async () => {
  const server = await start(...quick);
  const controller = new AbortController();
  const forgotten = await (async () => {
    const client = new Client(server.url);
    await client.connect();
    client.unref();
    const next = client.messages({ signal: controller.signal }).next();
    controller.abort();
    await assert.rejects(next, { name: 'AbortError' });
    return new WeakRef(client);
  })();
  await until(() => {
    global.gc();
    return forgotten.deref() === undefined;
  }, 'the client to be collected');
});

test('a message that a reader was given is not lost by an abort', async () => {
  const server = await start(...quick);
  const client = new Client(server.url);
  await client.connect();
  await client.subscribe('/mine');
  const controller = new AbortController();
  const next = client.messages({ signal: controller.signal }).next();
  // Told behind the message, in the same turn.
  client.on('closed', () => controller.abort());
  client.publish('/mine', 1).catch(() => {});
  const ended = client.disconnect();
  for (const end = Date.now() + 60000; client.sessionId !== undefined; ) assert(Date.now() < end);
  await ended;
  assert(controller.signal.aborted);
  assert.equal((await next).value?.data, 1);
});

test('an iteration that has ended takes no message', async () => {
  const server = await start(...quick);
  const client = new Client(server.url);
  await client.connect();
  await client.subscribe('/mine');
  const ended = client.messages();
  const waiting = ended.next();
  await ended.return();
  assert.deepEqual(await waiting, { value: undefined, done: true });
  const next = client.messages().next();
  await client.publish('/mine', 1);
  assert.equal((await next).value.data, 1);
  await client.disconnect();
});
