'use strict';
// An extension never answers, a log goes on, and the program ends.
const { parentPort, workerData } = require('node:worker_threads');
const { Client, log } = require('../..');

log(() => {}, { level: 'trace', bodies: true });
const url = workerData ?? process.argv[2];
new Client(url).connect();
new Client(url, { extensions: [{
  outgoing() {
    if (parentPort) parentPort.postMessage('asked');
    else process.exit(0);
    return new Promise(() => {});
  },
}] }).connect();
