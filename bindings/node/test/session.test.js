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
