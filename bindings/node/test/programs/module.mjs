import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import cometd, { Client, CometDError } from 'cometd-native';

assert.equal(createRequire(import.meta.url)('cometd-native').Client, Client);
assert.equal(cometd.CometDError, CometDError);
const client = new Client(new URL(process.argv[2]));
await client.connect();
if (Symbol.asyncDispose) await client[Symbol.asyncDispose]();
else await client.disconnect();
assert.equal(client.state, 'closed');
