'use strict';

// What the two Node servers have in common: the command line, the Bayeux
// listener with its restarts, the ticks and the control interface. README.md
// describes them. Everything that depends on the Bayeux library is in the
// backend that `createBackend(options, stats)` makes, anew for each restart:
//
//   attach(httpServer)      serve /cometd and all below it
//   publish(channel, data)  hand one message to the subscribers
//   sessions()              the number of sessions
//   disconnect(), forget()  resolve to the number of sessions
//   close()                 stop the library's own timers

const http = require('http');
const { setTimeout: sleep } = require('timers/promises');

const HOST = '127.0.0.1';

class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

function denied(channel) {
  return channel === '/denied' || channel.startsWith('/denied/');
}

function parse(name, args) {
  const options = { port: 0, timeoutMs: 5000, intervalMs: 0, maxIntervalMs: 10000, token: null };
  const flags = {
    '--port': 'port',
    '--timeout-ms': 'timeoutMs',
    '--interval-ms': 'intervalMs',
    '--max-interval-ms': 'maxIntervalMs',
    '--token': 'token',
  };
  const usage = problem => {
    process.stderr.write(`${name}: ${problem}\n`);
    process.exit(2);
  };
  for (let i = 0; i < args.length; i += 2) {
    const option = flags[args[i]];
    const value = args[i + 1];
    if (!option) usage(`unknown flag ${args[i]}`);
    if (value === undefined) usage(`no value for ${args[i]}`);
    if (option !== 'token' && !/^[0-9]{1,9}$/.test(value)) usage(`${args[i]}: not a number: ${value}`);
    options[option] = option === 'token' ? value : Number(value);
  }
  return options;
}

function number(query, name, fallback, max) {
  const value = query.get(name);
  if (value === null) return fallback;
  if (!/^[0-9]{1,9}$/.test(value) || Number(value) > max) {
    throw new Refused(400, `${name}: not a number from 0 to ${max}: ${value}`);
  }
  return Number(value);
}

async function run(name, createBackend) {
  const options = parse(name, process.argv.slice(2));
  const stats = { handshakes: 0, connects: 0, disconnects: 0, publishes: 0 };
  let life = null; // { httpServer, sockets, backend, ticks }, null while a restart has it down
  let restarting = false;

  const listen = (server, port) => new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, HOST, () => {
      server.removeListener('error', reject);
      resolve(server.address().port);
    });
  });

  async function start() {
    const backend = createBackend(options, stats);
    const httpServer = http.createServer((request, response) => {
      response.writeHead(404);
      response.end();
    });
    backend.attach(httpServer);
    // closeAllConnections() does not know those that became WebSockets.
    const sockets = new Set();
    httpServer.on('connection', socket => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    // A lasting problem of the port fails; for a moment, another program may have it.
    for (let i = 0; ; ++i) {
      try {
        options.port = await listen(httpServer, options.port);
        break;
      } catch (failure) {
        if (!restarting || i === 50 || failure.code !== 'EADDRINUSE') throw failure;
        await sleep(100);
      }
    }
    life = { httpServer, sockets, backend, ticks: 0 };
  }

  async function restart(downMs) {
    const { httpServer, sockets, backend } = life;
    life = null;
    // The connections first, so that held connects break off and are not answered.
    httpServer.close();
    sockets.forEach(socket => socket.destroy());
    backend.close();
    await sleep(downMs);
    await start();
    restarting = false;
  }

  function up() {
    if (!life) throw new Refused(400, 'the server is down for a restart');
    return life.backend;
  }

  async function publish(query) {
    const channel = query.get('channel') || '';
    if (!/^(\/[^/*]+)+$/.test(channel) || /^\/(meta|service)\//.test(channel)) {
      throw new Refused(400, `not a channel to publish to: ${channel}`);
    }
    const count = number(query, 'count', 1, 1000000);
    const pad = 'x'.repeat(number(query, 'size', 0, 10000000));
    const backend = up();
    for (let n = 0; n < count; ++n) {
      backend.publish(channel, { n, pad });
      // Without a turn for the requests, all would go out in a single reply.
      if (n % 100 === 99) await new Promise(setImmediate);
    }
    return count;
  }

  async function command(path, query) {
    switch (path) {
      case '/publish': return `published ${await publish(query)}`;
      case '/disconnect': return `disconnected ${await up().disconnect()}`;
      case '/forget': return `forgotten ${await up().forget()}`;
      case '/sessions': return String(life ? life.backend.sessions() : 0);
      case '/stats': return JSON.stringify(stats);
      case '/restart': {
        const downMs = number(query, 'down_ms', 0, 600000);
        if (restarting) throw new Refused(400, 'already restarting');
        restarting = true;
        setImmediate(() => restart(downMs).catch(fatal));
        return 'restarting';
      }
      default: throw new Refused(404, `no such command: ${path}`);
    }
  }

  const control = http.createServer(async (request, response) => {
    const url = new URL(request.url, `http://${HOST}`);
    let answer;
    try {
      answer = await command(url.pathname, url.searchParams);
    } catch (failure) {
      response.statusCode = failure.status || 400;
      answer = failure.message;
    }
    response.setHeader('Content-Type', 'text/plain');
    response.end(answer);
  });

  function fatal(failure) {
    process.stderr.write(`${name}: ${failure.stack}\n`);
    process.exit(1);
  }

  try {
    await start();
    const controlPort = await listen(control, 0);
    setInterval(() => {
      if (life) life.backend.publish('/ticks', { tick: ++life.ticks, server: name });
    }, 200);
    process.stdout.write(`READY ${options.port} ${controlPort}\n`);
  } catch (failure) {
    fatal(failure);
  }

  // End of input means that the test which started us is gone.
  process.stdin.on('end', () => process.exit(0));
  process.stdin.on('error', () => process.exit(0));
  process.stdin.resume();
}

module.exports = { run, denied, Refused };
