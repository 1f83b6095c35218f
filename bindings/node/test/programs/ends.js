'use strict';
// Ends in one of several ways, with clients alive.
const { Client } = require('../..');

const [, , url, how] = process.argv;
(async () => {
  const client = new Client(url);
  if (how === 'idle') return;
  if (how === 'token') {
    const asking = new Client(url.replace('/cometd', '/nothing'), { tokenProvider: () => new Promise(() => {}) });
    asking.connect().catch(() => {});
  }
  await client.connect();
  await client.subscribe('/ticks');
  (async () => {
    for await (const message of client) void message;
  })();
  switch (how) {
    case 'exit':
    case 'token':
      process.exit(0);
      break;
    case 'unref':
      client.unref();
      break;
    case 'destroyed':
      client.destroy();
      break;
    case 'throws':
      client.on('closed', () => { throw new Error('from a listener'); });
      client.destroy();
      new Client(url).connect();
      break;
    case 'caught':
      process.on('uncaughtException', async error => {
        await client.publish('/x', 1);
        console.log(`${error.message}, and still ${client.state}`);
        await client.disconnect();
      });
      client.once('resubscribed', () => { throw new Error('from a listener'); });
      client.emit('resubscribed');
      break;
    default:
      // It is the client that keeps the process alive.
      process.once('SIGTERM', () => {
        console.log('signal');
        client.disconnect();
      });
      process.kill(process.pid, 'SIGTERM');
  }
})().catch(error => setImmediate(() => { throw error; }));
