import cometd, { Client, CometDError, FileReplayStore, log, type LogLine, type Message, type State } from 'cometd-native';

interface Tick { tick: number }

export async function run(url: string): Promise<number> {
  const client = new Client(url, {
    requestTimeoutMs: 1000, backoffMs: [100, 1000], transports: ['websocket', 'long-polling'], overflow: 'drop_oldest',
    header: { 'X-Trace': '1' }, url: ['http://b/cometd'], handshakeExt: { token: 1 }, acknowledgement: true, replay: 'all',
    tokenProvider: async reason => `Bearer ${reason.toFixed()}`,
    handshakeProvider: ({ attempt }) => ({ ext: { attempt } }),
    headerProvider: ({ method, body }) => ({ 'X-Signature': method + (body ?? '') }),
    extensions: [{ incoming: message => message, outgoing: async () => null }, { outgoing(message) { message['ext'] = {}; } }],
    replayStore: new FileReplayStore('positions.json'),
  });
  new Client(url, { replayStore: { load: async () => undefined, save: (channel, position) => void (channel.length + position) } });
  log((line: LogLine) => void line.text, { level: 'debug', bodies: true });
  log(null);
  // @ts-expect-error no such option
  new Client(url, { nothing: 1 });
  // @ts-expect-error no such choice
  new Client(url, { overflow: 'never' });
  const state: State = client.state;
  client.on('failure', error => error.retryInMs?.toFixed()).once('closed', error => error?.fatal);
  client.on('state', (now: State, before: State) => now === before || state);
  await client.connect({ signal: AbortSignal.timeout(1000) });
  await client.subscribe(['/a', '/b']);
  const answer: Tick = await client.call<Tick>('/service/echo', { tick: 1 }, { timeoutMs: 5 });
  let last = answer.tick;
  for await (const message of client.messages<Tick>()) last = message.data.tick;
  for await (const message of client) {
    const whole: Message = message;
    last += whole.channel.length;
  }
  try {
    await client.publish('/a', {});
  } catch (error) {
    if (error instanceof CometDError && error.phase === 'publish') last += error.bayeuxCode ?? 0;
  }
  for await (const message of client.messages<Tick>({ pattern: '/a/*' })) client.done(message);
  await client.flush({ timeoutMs: 10 });
  const session: string = await client.export();
  await client.disconnect();
  last += session.length + (client.lastError?.status ?? 0) + (cometd.channelMatches('/a', '/b') ? 1 : 0);
  return last + cometd.options().length;
}
