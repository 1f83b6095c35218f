'use strict';
// What a client does in its process.

const assert = require('node:assert/strict');
const { execFile, spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const test = require('node:test');
const { Worker } = require('node:worker_threads');
const { Client, options } = require('..');
const { start, until } = require('./server.js');

const quick = ['--timeout-ms', '3000', '--tick-ms', '50'];

/** Runs one of programs/ to its end, which must come in time: { code, output } */
function run(program, ...values) {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [path.join(__dirname, 'programs', program), ...values], { timeout: 60000 },
      (error, stdout, stderr) => {
        if (error?.killed) reject(new Error(`${program} ${values.join(' ')} did not end: ${stdout}${stderr}`));
        else resolve({ code: error?.code ?? 0, output: stdout + stderr });
      });
  });
}

test('an abort ends the waiting', async () => {
  const server = await start(...quick);
  const client = new Client(server.url);
  const reason = new Error('enough');
  const aborted = AbortSignal.abort(reason);
  await assert.rejects(client.connect({ signal: aborted }), reason);
  assert.equal(client.state, 'idle');
  await client.connect();
  await assert.rejects(client.subscribe('/x', { signal: aborted }), reason);
  const controller = new AbortController();
  const waiting = [
    client.messages({ signal: controller.signal }).next(),
    client.call('/service/slow', {}, { signal: controller.signal }),
  ];
  setImmediate(() => controller.abort(reason));
  for (const one of waiting) await assert.rejects(one, reason);
  // The reader that has gone takes nothing.
  await client.subscribe('/mine');
  await client.publish('/mine', 1);
  assert.equal((await client.messages().next()).value.data, 1);
  await client.disconnect();
});

test('a connect to nobody fails again and again until it is aborted', async () => {
  const client = new Client('http://127.0.0.1:9/cometd', { backoffMs: [1, 1] });
  const controller = new AbortController();
  const failures = [];
  client.on('failure', error => {
    failures.push(error);
    if (failures.length === 3) controller.abort();
  });
  await assert.rejects(client.connect({ signal: controller.signal }), { name: 'AbortError' });
  assert.equal(failures[0].code, 'COMETD_E_TCP');
  assert.equal(failures[0].phase, 'handshake');
  assert(failures[0].retryInMs >= 0);
  client.destroy();
});

test('bad arguments are errors', async () => {
  assert.throws(() => new Client('ftp://localhost/'), { code: 'COMETD_E_INVALID_URL' });
  assert.throws(() => new Client('http://localhost/', { timeoutMS: 1 }), TypeError);
  assert.throws(() => new Client('http://localhost/', { timeoutMs: -1 }), { code: 'COMETD_E_OUT_OF_RANGE' });
  assert.throws(() => new Client('http://localhost/', { overflow: 'x' }), { code: 'COMETD_E_OUT_OF_RANGE' });
  const client = new Client('http://localhost/');
  await assert.rejects(client.publish('/x', undefined), { code: 'COMETD_E_INVALID_ARGUMENT' });
  await assert.rejects(client.publish(7, 1), { code: 'COMETD_E_INVALID_ARGUMENT' });
  // In C it would end there.
  await assert.rejects(client.subscribe('/x\0y'), { code: 'COMETD_E_INVALID_ARGUMENT' });
  assert.throws(() => client.setAuthorization('Bearer x\0y'), { code: 'COMETD_E_INVALID_ARGUMENT' });
  await assert.rejects(client.subscribe([]), { code: 'COMETD_E_INVALID_ARGUMENT' });
  await assert.rejects(client.subscribe(['/x', 7]), { code: 'COMETD_E_INVALID_ARGUMENT' });
  assert.throws(() => client.batch(() => { throw new RangeError('mine'); }), RangeError);
  const waiting = client.publish('/x', 1);
  client.destroy();
  await assert.rejects(waiting, { code: 'COMETD_E_CLOSED' });
  assert.throws(() => client.statistics(), { code: 'COMETD_E_CLOSED' });
});

test('all options can be set', () => {
  const special = { name: 'one', url: 'http://127.0.0.1:2/', append_message_type: 'never', proxy: '', cookie: { a: 'b' },
    header: { 'X-A': 'b' }, handshake_ext: { a: 1 }, bearer_token: 'T', basic_auth: 'a:b', authorization: 'T',
    request_capacity: 65536, replay: 'all', replay_position: { '/x': 7 }, resume: '' };
  const values = {};
  for (const option of options()) {
    if (['own_receiver', 'certificate_authorities', 'client_certificate'].includes(option.name)) continue;
    const value = special[option.name] ?? option.default;
    assert.notEqual(value, undefined, option.name);
    values[option.name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())] = value;
  }
  new Client('http://127.0.0.1:1/', { ...values, numberOfRetries: Infinity }).destroy();
});

test('a batch is one request', async () => {
  const server = await start(...quick);
  const client = new Client(server.url);
  await client.connect();
  const before = client.statistics().requests;
  await Promise.all(client.batch(() => [client.publish('/x', 1), client.publish('/x', 2), client.publish('/x', 3)]));
  assert.equal(client.statistics().requests - before, 1);
  await client.disconnect();
});

test('a slow reader makes the others wait, but no outcome', async () => {
  const server = await start(...quick);
  const client = new Client(server.url);
  await client.connect();
  await client.subscribe('/many');
  await server.control('/publish?channel=/many&count=9000');
  await until(() => client.statistics().receivers[0].queued > 0, 'events that stay in the library');
  await client.publish('/x', 1);
  await server.control('/publish?channel=/many&count=1000');
  let count = 0;
  for await (const message of client) {
    assert.equal(message.data.n, count % 9000);
    if (++count === 10000) break;
    if (count % 1000 === 0) await client.publish('/x', 1);
  }
  await client.disconnect();
});

test('a disconnect does not wait for a slow reader, who still gets all', async () => {
  const server = await start(...quick);
  const client = new Client(server.url);
  await client.connect();
  await client.subscribe('/many');
  await server.control('/publish?channel=/many&count=9000');
  await until(() => client.statistics().receivers[0].queued > 0, 'events that stay in the library');
  await Promise.all([client.disconnect({ timeoutMs: 600000 }), client.disconnect({ timeoutMs: 600000 })]);
  let count = 0;
  for await (const message of client) assert.equal(message.data.n, count++);
  assert.equal(count, 9000);
});

test('a client that is not connected closes too', async () => {
  const idle = new Client('http://127.0.0.1:9/cometd');
  await idle.disconnect();
  assert.equal(idle.state, 'closed');
  const trying = new Client('http://127.0.0.1:9/cometd');
  const connecting = assert.rejects(trying.connect(), { code: 'COMETD_E_CLOSED' });
  await once(trying, 'failure');
  await trying.disconnect();
  await connecting;
  for await (const message of trying) assert.fail(message);
});

test('the other providers are asked', async () => {
  const server = await start(...quick, '--challenge', 'secret');
  const asked = [];
  const client = new Client(server.url, {
    backoffMs: [1, 10],
    handshakeProvider: async ({ attempt, refusal }) => {
      asked.push(attempt);
      const challenge = refusal?.ext?.authentication?.challenge;
      return challenge && { ext: { authentication: { answer: `${challenge}:secret` } } };
    },
    headerProvider: async ({ method, url, body }) => {
      assert.equal(method, 'POST');
      assert(url.startsWith(server.url));
      return { 'X-Length': body.length };
    },
  });
  await client.connect();
  assert.deepEqual(asked, [1, 2]);
  const headers = JSON.parse(await server.control('/headers'));
  assert.match(JSON.stringify(headers), /x-length/i);
  await client.disconnect();
});

test('binary messages go out and come in', async () => {
  const server = await start(...quick);
  const client = new Client(server.url);
  await client.connect();
  await client.subscribe('/bytes');
  await Promise.all(client.batch(() => [
    client.publishBinary('/bytes', Buffer.from([0, 1, 2, 254, 255]), { meta: { name: 'x' }, last: false }),
    client.publish('/bytes', 'between'),
    client.publishBinary('/bytes', new Uint8Array(0)),
    client.publishBinary('/bytes', Buffer.alloc(100000, 7)),
  ]));
  const messages = client.messages();
  const next = async () => (await messages.next()).value;
  const first = await next();
  assert.deepEqual(first.bytes, Buffer.from([0, 1, 2, 254, 255]));
  assert.deepEqual(first.data.meta, { name: 'x' });
  assert.equal(first.data.last, false);
  const { data, bytes } = await next();
  assert.deepEqual([data, bytes], ['between', undefined]);
  assert.equal((await next()).bytes.length, 0);
  assert.deepEqual((await next()).bytes, Buffer.alloc(100000, 7));
  await client.disconnect();
});

const counts = () => [fs.readdirSync('/proc/self/task').length, fs.readdirSync('/proc/self/fd').length];

test('clients that nobody closed are collected, and their threads and descriptors', async () => {
  const server = await start(...quick);
  await fs.promises.stat('.'); // the pool's threads are there
  const before = counts();
  await (async () => {
    for (let count = 0; count < 20; count++) {
      const client = new Client(server.url, { tokenProvider: () => 'Bearer x' });
      await client.connect();
      await client.subscribe('/ticks');
    }
    new Client(server.url);
    assert(counts()[0] > before[0]);
    assert(counts()[1] >= before[1] + 20);
  })();
  await until(() => {
    global.gc();
    const now = counts();
    return now[0] <= before[0] && now[1] <= before[1];
  }, 'threads and descriptors to be gone');
});

test('a client that is read is not collected, whoever has forgotten it', async () => {
  const server = await start(...quick);
  let seen = 0, end;
  await (async () => {
    const client = new Client(server.url);
    await client.connect();
    await client.subscribe('/ticks');
    (async () => {
      for await (const message of client) {
        seen += message.data.tick > 0;
        if (end) break;
      }
      await client.disconnect();
      end();
    })();
  })();
  await until(() => {
    global.gc();
    return seen >= 5;
  });
  await new Promise(done => { end = done; });
});

test('an idle client holds no thread of the pool', async () => {
  const server = await start(...quick);
  const { code, output } = await run('pool.js', server.url);
  assert.equal(code, 0, output);
});

test('a process ends with its clients alive', async () => {
  const server = await start(...quick);
  for (const [how, status, said] of [
    ['exit', 0, ''], ['unref', 0, ''], ['idle', 0, ''], ['destroyed', 0, ''], ['token', 0, ''],
    ['throws', 1, 'from a listener'], ['caught', 0, 'from a listener, and still connected'], ['connected', 0, 'signal'],
  ]) {
    const { code, output } = await run('ends.js', server.url, how);
    assert.equal(code, status, `${how}: ${output}`);
    assert(output.includes(said), `${how}: ${output}`);
  }
});

test('workers have clients of their own, also when they are terminated', async () => {
  const server = await start(...quick);
  const work = async () => {
    const worker = new Worker(path.join(__dirname, 'programs/worker.js'), { workerData: server.url });
    assert.deepEqual(await once(worker, 'message'), ['read']);
    return worker;
  };
  const [ending, terminated] = await Promise.all([work(), work()]);
  ending.postMessage('disconnect');
  assert.deepEqual(await once(ending, 'exit'), [0]);
  assert.equal(await terminated.terminate(), 1);
  for (let round = 0; round < 5; round++) {
    const workers = await Promise.all([work(), work(), work()]);
    await Promise.all(workers.map(worker => worker.terminate()));
  }
});

test('ES modules have the same, and a disposal', async () => {
  const server = await start(...quick);
  const { code, output } = await run('module.mjs', server.url);
  assert.equal(code, 0, output);
});

test('the example and the program of README work', async () => {
  const server = await start(...quick);
  const readme = fs.readFileSync(path.join(__dirname, '../README.md'), 'utf8');
  const program = readme.match(/```js\n(.*?)```/s)[1].replace(/http:[^']*/, server.url);
  for (const given of [['example.mjs', server.url, '/ticks'], ['--input-type=module', '-e', program]]) {
    const child = spawn(process.execPath, given, { cwd: path.join(__dirname, '..'), stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of readline.createInterface({ input: child.stdout })) {
      if (line.includes('tick')) break;
    }
    const exit = once(child, 'exit');
    child.kill('SIGINT');
    // The example disconnects, the short one does not care.
    assert.deepEqual(await exit, given[0] === 'example.mjs' ? [0, null] : [null, 'SIGINT']);
  }
});
