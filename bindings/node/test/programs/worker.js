'use strict';
const { parentPort, workerData } = require('node:worker_threads');
const { Client } = require('../..');

(async () => {
  const client = new Client(workerData, { name: 'a worker' });
  await client.connect();
  await client.subscribe('/ticks');
  parentPort.once('message', async () => {
    await client.disconnect();
  });
  let told = false;
  for await (const message of client) {
    if (!told && message.data.tick > 0) parentPort.postMessage('read');
    told = true;
  }
})();
