'use strict';

const faye = require('faye');
const { run, denied, Refused } = require('../node-common');

const NAME = 'faye';
const ECHO = '/service/echo';

function createBackend(options, stats) {
  const sessions = new Set();
  // Faye counts in seconds, and takes 0 for "not given". It has no option like
  // maxInterval: a session ends 2 * timeout after its last connect came in.
  const bayeux = new faye.NodeAdapter({
    mount: '/cometd',
    timeout: options.timeoutMs / 1000,
    engine: { interval: options.intervalMs / 1000 },
  });
  // Not public, but the only way to publish without a client session at the
  // server, and to end a client's session from the server.
  const engine = bayeux._server._engine;
  const memory = engine._engine;

  bayeux.on('handshake', id => {
    sessions.add(id);
    stats.handshakes += 1;
  });
  bayeux.on('disconnect', id => sessions.delete(id));

  // Faye has no security policy: an extension sets the error instead. Faye
  // answers a handshake with an error by the advice `handshake`, never `none`.
  bayeux.addExtension({
    incoming(message, request, callback) {
      const { channel, clientId } = message;
      if (typeof channel !== 'string') {
        // Left for Faye to refuse.
      } else if (channel === '/meta/handshake') {
        if (options.token !== null && request.headers.authorization !== `Bearer ${options.token}`) {
          message.error = '403::Authentication required';
        }
      } else if (channel === '/meta/subscribe') {
        const refused = [].concat(message.subscription || []).find(name => denied(String(name)));
        if (refused) message.error = `403:${refused}:Forbidden channel`;
      } else if (channel === '/meta/connect') {
        if (sessions.has(clientId)) stats.connects += 1;
      } else if (channel === '/meta/disconnect') {
        if (sessions.has(clientId)) stats.disconnects += 1;
      } else if (!channel.startsWith('/meta/')) {
        if (sessions.has(clientId)) stats.publishes += 1;
        if (denied(channel)) message.error = `403:${channel}:Forbidden channel`;
        if (channel === ECHO) echo(clientId, message.data);
      }
      callback(message);
    },
  });

  // Faye has no service channels: what is published to one goes to its
  // subscribers, and nobody can subscribe to it. So the answer is published by
  // way of a channel that only this client has, with the name of the echo.
  function echo(clientId, data) {
    if (data === undefined || !sessions.has(clientId)) return;
    const own = `${ECHO}/${clientId}`;
    memory.subscribe(clientId, own);
    memory.publish({ channel: ECHO, data }, [own]);
  }

  return {
    attach: httpServer => bayeux.attach(httpServer),
    publish: (channel, data) => engine.publish({ channel, data }),
    sessions: () => sessions.size,
    async disconnect() {
      throw new Refused(404, 'Faye has no disconnect sent by the server');
    },
    // Faye answers the held connect at once, successful and without a sign;
    // the next connect gets 401:ID:Unknown client (not 402) and the advice
    // handshake.
    async forget() {
      const all = [...sessions];
      for (const id of all) engine.destroyClient(id);
      return all.length;
    },
    close: () => bayeux.close(),
  };
}

run(NAME, createBackend);
