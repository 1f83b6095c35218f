'use strict';
// Two clients wait for events, and the pool's one thread is free.
process.env.UV_THREADPOOL_SIZE = '1';
const fs = require('node:fs');
const { Client } = require('../..');

(async () => {
  const clients = [new Client(process.argv[2]), new Client(process.argv[2])];
  for (const client of clients) {
    await client.connect();
    client.messages().next();
  }
  await fs.promises.stat('.');
  for (const client of clients) await client.disconnect();
})();
