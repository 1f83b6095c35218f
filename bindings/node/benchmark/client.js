'use strict';
// Reads events by one of the clients, and prints the CPU time of the whole process for each: client.js WHICH URL WARMUP EVENTS

const [, , which, url, warmUp, count] = process.argv;
let seen = 0, before;
function take(message) {
  if (message.data.n < 0) throw new Error('no event');
  if (++seen === Number(warmUp)) before = process.cpuUsage();
  if (seen < Number(warmUp) + Number(count)) return;
  const { user, system } = process.cpuUsage(before);
  console.log(`COST ${(user + system) / count}`);
  process.exit(0);
}

const clients = {
  async native() {
    const { Client } = require('..');
    const client = new Client(url);
    await client.connect();
    await client.subscribe('/bench');
    console.log('SUBSCRIBED');
    for await (const message of client.messages()) take(message);
  },
  'cometd.js'() {
    require('cometd-nodejs-client').adapt();
    const cometd = new (require('cometd').CometD)();
    cometd.unregisterTransport('websocket');
    cometd.configure({ url });
    cometd.handshake(reply => {
      if (!reply.successful) throw new Error(JSON.stringify(reply));
      cometd.subscribe('/bench', take, () => console.log('SUBSCRIBED'));
    });
  },
  async faye() {
    const { Client } = require('faye');
    const client = new Client(url);
    client.disable('websocket');
    client.disable('eventsource');
    await client.subscribe('/bench').withChannel((channel, data) => take({ channel, data }));
    console.log('SUBSCRIBED');
  },
};
clients[which]();
