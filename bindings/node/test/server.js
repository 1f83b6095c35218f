'use strict';
// A server of the tests: the demo server, or with SERVER=cometd-java CometD's own.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const path = require('node:path');
const readline = require('node:readline');
const { after } = require('node:test');

const ROOT = path.join(__dirname, '../../..');
const REAL = process.env.SERVER === 'cometd-java';

/** Starts one, which ends with this process: { url, control }. */
async function start(...flags) {
  const [command, ...before] = REAL
    ? [path.join(ROOT, 'tests/servers/run'), 'cometd-java', '--port', '0']
    : [path.join(process.env.BUILD, 'bin/cometd_demo_server'), '--port', '0', '--quiet', '--exit-with-stdin'];
  const server = spawn(command, [...before, ...flags], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(readline.createInterface({ input: server.stdout }), 'line');
  const [, port, controlPort] = line.split(' ');
  after(async () => {
    server.stdin.end();
    if (server.exitCode === null) await once(server, 'exit');
  });
  return {
    url: `http://127.0.0.1:${port}/cometd`,
    control: target => new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: controlPort, path: target, agent: false }, response => {
        let text = '';
        response.setEncoding('utf8').on('data', part => { text += part; }).on('end', () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${target}: ${text}`));
        });
      }).on('error', reject);
    }),
  };
}

/** Waits for what nothing tells of. */
async function until(condition, what) {
  for (const end = Date.now() + 60000; !await condition(); await new Promise(done => setTimeout(done, 10))) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what ?? condition}`);
  }
}

module.exports = { start, until, REAL };
