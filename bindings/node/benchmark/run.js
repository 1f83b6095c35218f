'use strict';
// CPU time an event of this binding beside cometd.js and Faye, by long polling from the demo server: responses of 1, 10
// and 100 events of 100 bytes. All threads of the client's process count. A response is published when the server has
// the connect that it answers. Ratios are medians of the rounds' ratios: run.js [ROUNDS]

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const readline = require('node:readline');

const CLIENTS = ['native', 'cometd.js', 'faye'];
const SHAPES = [[1, 3000], [10, 30000], [100, 100000]];
const rounds = Number(process.argv[2] ?? 3);
const median = numbers => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

async function main() {
  const program = path.join(process.env.BUILD, 'bin/cometd_demo_server');
  const server = spawn(program, ['--port', '0', '--quiet', '--exit-with-stdin', '--tick-ms', '0'],
    { stdio: ['pipe', 'pipe', 'inherit'] });
  const [ready] = await once(readline.createInterface({ input: server.stdout }), 'line');
  const [, port, control] = ready.split(' ');
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = target => new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port: control, path: target, agent }, response => {
      let text = '';
      response.on('data', part => { text += part; }).on('end', () => resolve(text));
    }).on('error', reject);
  });
  const connects = async () => JSON.parse(await ask('/stats')).connects;

  async function measure(which, events, count) {
    const client = spawn(process.execPath,
      [path.join(__dirname, 'client.js'), which, `http://127.0.0.1:${port}/cometd`, String(count / 2), String(count)],
      { stdio: ['ignore', 'pipe', 'inherit'] });
    let cost, subscribed, ended = false;
    const started = new Promise(done => { subscribed = done; });
    const end = new Promise(done => client.on('close', () => { ended = true; done(); }));
    readline.createInterface({ input: client.stdout }).on('line', line => {
      if (line === 'SUBSCRIBED') subscribed();
      else if (line.startsWith('COST ')) cost = Number(line.slice(5));
    });
    await Promise.race([started, end]);
    // The connect after the first is held.
    let answered = 1;
    const first = await connects();
    while (!ended && await connects() === first && answered++ < 200) await new Promise(done => setTimeout(done, 1));
    while (!ended) {
      const before = await connects();
      await ask(`/publish?channel=/bench&count=${events}&size=80`);
      while (!ended && await connects() === before) await new Promise(setImmediate);
    }
    await end;
    await ask('/forget');
    if (cost === undefined) throw new Error(`${which} has measured nothing`);
    return cost;
  }

  console.log('CPU microseconds an event; in parentheses what part of it this binding takes');
  console.log(['events a response', ...CLIENTS].map(cell => cell.padStart(18)).join(''));
  for (const [events, count] of SHAPES) {
    const costs = [];
    for (let round = 0; round < rounds; round++) {
      const costsNow = {};
      for (const which of CLIENTS) costsNow[which] = await measure(which, events, count);
      costs.push(costsNow);
    }
    const cells = CLIENTS.map(which => {
      const ratio = which === 'native' ? '' : ` (${median(costs.map(all => all.native / all[which])).toFixed(2)})`;
      return `${median(costs.map(all => all[which])).toFixed(2)}${ratio}`;
    });
    console.log([String(events), ...cells].map(cell => cell.padStart(18)).join(''));
  }
  agent.destroy();
  server.stdin.end();
}

main();
