'use strict';

const cometdServer = require('cometd-nodejs-server');
const { run, denied } = require('../node-common');

const NAME = 'cometd-nodejs';
const ECHO = '/service/echo';

function createBackend(options, stats) {
  const sessions = new Set();
  const cometd = cometdServer.createCometDServer({
    timeout: options.timeoutMs,
    interval: options.intervalMs,
    maxInterval: options.maxIntervalMs,
  });

  cometd.policy = {
    canHandshake(session, message, callback) {
      const authorization = cometd.context.request.headers.authorization;
      callback(undefined, options.token === null || authorization === `Bearer ${options.token}`);
    },
    canCreate: (session, message, name, callback) => callback(undefined, !denied(name)),
    canSubscribe: (session, message, channel, callback) => callback(undefined, !denied(channel.name)),
    canPublish: (session, message, channel, callback) => callback(undefined, !denied(channel.name)),
  };

  cometd.addListener('sessionAdded', session => {
    sessions.add(session);
    stats.handshakes += 1;
  });
  cometd.addListener('sessionRemoved', session => sessions.delete(session));
  cometd.addExtension({
    incoming(server, session, message, callback) {
      if (message.channel === '/meta/connect') stats.connects += 1;
      else if (message.channel === '/meta/disconnect') stats.disconnects += 1;
      else if (!message.channel.startsWith('/meta/')) stats.publishes += 1;
      callback(undefined, true);
    },
  });
  cometd.createServerChannel(ECHO).addListener('message', (session, channel, message, callback) => {
    session.deliver(null, ECHO, message.data);
    callback(undefined, true);
  });

  return {
    attach(httpServer) {
      const others = httpServer.listeners('request');
      httpServer.removeAllListeners('request');
      httpServer.on('request', (request, response) => {
        if (/^\/cometd([/?]|$)/.test(request.url)) {
          // The library glues the pieces of a body as they come and would
          // spoil a character that lies in two of them.
          request.setEncoding('utf8');
          cometd.handle(request, response);
        } else {
          others.forEach(listener => listener(request, response));
        }
      });
    },
    publish(channel, data) {
      // Asked for each time: the sweeper removes channels without subscribers.
      cometd.createServerChannel(channel).publish(null, data);
    },
    sessions: () => sessions.size,
    // The client gets the message /meta/disconnect before the reply to its
    // held connect, which is successful and without advice: unlike CometD
    // Java, this server does not say `none`. Its next connect, if it sends
    // one, gets 402 and the advice handshake. A session that has no connect
    // at the server would get only that, so wait until the connect is held.
    async disconnect() {
      let count = 0;
      const end = Date.now() + 2000;
      for (const session of [...sessions]) {
        while (!session._scheduler && Date.now() < end) await new Promise(setImmediate);
        session.disconnect();
        count += 1;
      }
      return count;
    },
    // The library itself removes an expired session so; there is no public
    // way without a message. The flush answers the held connect at once,
    // successful and without advice (it would otherwise be held to its end);
    // the next connect then gets 402::session_unknown, advice handshake.
    async forget() {
      const all = [...sessions];
      for (const session of all) {
        cometd._removeServerSession(session, true);
        session._flush();
      }
      return all.length;
    },
    close: () => cometd.close(),
  };
}

run(NAME, createBackend);
