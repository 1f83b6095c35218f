'use strict';
// What a session does; with SERVER=cometd-java on CometD itself.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const test = require('node:test');
const { Client, CometDError } = require('..');
const { REAL, start } = require('./server.js');

const quick = REAL ? ['--timeout-ms', '3000'] : ['--timeout-ms', '3000', '--tick-ms', '100'];

async function connected(server, options) {
  const client = new Client(server.url, options);
  await client.connect();
  return client;
}

test('10000 events come in order', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  await client.subscribe('/many');
  assert.equal(await server.control('/publish?channel=/many&count=10000&size=100'), 'published 10000');
  let expected = 0;
  for await (const message of client.messages()) {
    assert.equal(message.channel, '/many');
    assert.equal(message.data.n, expected++);
    if (expected === 10000) break;
  }
  await client.disconnect();
});

test('a publish has an outcome, and its message comes back', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  await client.subscribe('/chat');
  const messages = client.messages();
  await client.publish('/chat', { text: 'h\u00e9llo "w\u00f6rld" \u{1f600}' });
  assert.deepEqual((await messages.next()).value.data, { text: 'h\u00e9llo "w\u00f6rld" \u{1f600}' });
  await assert.rejects(client.publish('/denied', 1), error => error.phase === 'publish' && error.bayeuxCode === 403);
  await assert.rejects(client.publish('no channel', 1), { code: 'COMETD_E_INVALID_CHANNEL' });
  await client.disconnect();
  await assert.rejects(client.publish('/chat', 1), { code: 'COMETD_E_CLOSED' });
});

test('a denied subscribe says why', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  await assert.rejects(client.subscribe('/denied'), error => {
    assert(error instanceof CometDError);
    assert.equal(error.code, 'COMETD_E_REFUSED');
    assert.equal(error.status, -33);
    assert.equal(error.phase, 'subscribe');
    assert.equal(error.channel, '/denied');
    assert.equal(error.httpStatus, 200);
    assert.equal(error.bayeuxCode, 403);
    assert.equal(error.retryInMs, undefined);
    assert.equal(error.fatal, false);
    return true;
  });
  await client.disconnect();
});

test('a lost session is made anew, with its subscriptions', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  await client.subscribe(['/ticks', '/other']);
  const before = client.sessionId;
  const back = new Set();
  client.on('resubscribed', channel => back.add(channel));
  await server.control('/forget');
  while (back.size < 2) await once(client, 'resubscribed');
  assert.notEqual(client.sessionId, before);
  for await (const message of client) {
    assert.equal(message.channel, '/ticks');
    break;
  }
  await client.disconnect();
});

test('a token is renewed later, from the loop', async () => {
  const server = await start(...quick, '--token', 'fresh');
  const reasons = [];
  const client = await connected(server, {
    bearerToken: 'stale',
    backoffMs: [10, 100],
    tokenProvider: async reason => {
      reasons.push(reason);
      await new Promise(done => setTimeout(done, 20));
      return 'Bearer fresh';
    },
  });
  assert.deepEqual(reasons, [1]);
  await client.subscribe('/ticks');
  assert.equal((await client.messages().next()).value.channel, '/ticks');
  await client.disconnect();
});

test('a provider that throws gives the reason of the error', async () => {
  const server = await start(...quick, '--token', 'fresh');
  for (const tokenProvider of [
    () => { throw new Error('the login is closed\non Sundays'); },
    () => Promise.reject(new Error('the login is closed')),
  ]) {
    const client = new Client(server.url, { bearerToken: 'stale', backoffMs: [10, 100], tokenProvider });
    const failures = [];
    client.on('failure', error => failures.push(error.message));
    await assert.rejects(client.connect(), error => error.fatal && error.phase === 'handshake');
    assert(failures.some(message => message.includes('the login is closed')), failures.join('\n'));
    assert.equal(client.state, 'closed');
    await assert.rejects(client.messages().next(), error => error.fatal);
  }
});

test('a remote call has a result, a failure, or a limit', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  assert.deepEqual(await client.call('/service/echo', { a: [1] }), { a: [1] });
  await assert.rejects(client.call('/service/fail', { a: 2 }),
    error => error.phase === 'call' && error.code === 'COMETD_E_REFUSED' && error.data.a === 2);
  await assert.rejects(client.call('/service/slow', {}, { timeoutMs: 50 }), { code: 'COMETD_E_TIMEOUT' });
  await client.disconnect();
});

test('a disconnect sends what was accepted, tells the server, and ends the iteration', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  await client.subscribe('/last');
  const seen = [];
  const reading = (async () => {
    for await (const message of client.messages()) seen.push(message.data);
  })();
  const outcome = client.publish('/last', 1);
  await client.disconnect();
  await outcome;
  await reading;
  assert.deepEqual(seen, [1]);
  assert.equal(client.state, 'closed');
  assert.equal(JSON.parse(await server.control('/stats')).disconnects, 1);
  await client.disconnect();
});

test('messages of several channels keep theirs', async () => {
  const server = await start(...quick);
  const client = await connected(server);
  const channels = ['/a', '/a', '/b', '/a', '/a/b', '/a/b', '/b'];
  await client.subscribe(['/a', '/b', '/a/b']);
  await Promise.all(client.batch(() => channels.map((channel, n) => client.publish(channel, n))));
  const seen = [];
  for await (const message of client) {
    seen.push([message.channel, message.data]);
    if (seen.length === channels.length) break;
  }
  assert.deepEqual(seen, channels.map((channel, n) => [channel, n]));
  await client.disconnect();
});
